"""Does an adapter belong to this model?"""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch

from detectors.language.adapter import CARD, examine_context
from detectors.language.error import ModelError
from detectors.language.forecaster import LanguageForecaster
from detectors.language.model import load_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def base(tiny_model: Callable[..., Path], tmp_path: Path) -> Path:
    return shutil.copytree(tiny_model(), tmp_path / "base")


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    """An adapter of `base` that changes what it expects, as peft saves it."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    whole = AutoModelForCausalLM.from_pretrained(base)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    tuned: Any = get_peft_model(whole, config)
    tuned.save_pretrained(tmp_path / "tuned")
    return tmp_path / "tuned"


def edit(file: Path, **fields: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_an_adapter_is_merged_and_reads_as_peft_does(base: Path, adapter: Path, window) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    plain = load_model(base, device="cpu", numbers="float32")
    model = load_model(base, device="cpu", numbers="float32", adapter=adapter)
    assert model.description.startswith("base with tuned on cpu")
    values = [window([5 + i % 4 for i in range(n)], end=n) for n in (12, 13)]
    scores = []
    for one in (plain, model):
        made = LanguageForecaster(one, context=32, min_context=8)
        made.read(values[:1])
        scores.append(made.read(values[1:])[0][0])
    assert scores[0].log_score != pytest.approx(scores[1].log_score, abs=1e-2), "it changes something"
    slow: Any = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).eval()
    text = [model.alphabet.begin, *(t for c in (500, 510, 490) for t in model.alphabet.tokens(c))]
    with torch.inference_mode():
        expected = slow(torch.tensor([text])).logits[0, -1, list(model.alphabet.symbols)].log_softmax(-1)
        from detectors.language.cache import Cache, Reading

        cache = Cache(model.shape, rows=1, capacity=64, device=model.device, dtype=model.dtype)
        reading = Reading(cache, torch.tensor([0]), torch.tensor([0]), len(text))
        found = model.log_probabilities(model.run(torch.tensor([text]), reading)[0, -1])
    assert found == pytest.approx(expected, abs=1e-4)


def test_the_card_proves_the_base(base: Path, adapter: Path, tmp_path: Path) -> None:
    weights = base / "model.safetensors"
    (adapter / CARD).write_text(json.dumps({"base_sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}))
    moved = base.rename(tmp_path / "called otherwise")
    load_model(moved, device="cpu", adapter=adapter)
    edit(adapter / CARD, base_sha256="0" * 64)
    with pytest.raises(
        ModelError, match=r"expected base model weights with sha256 0{64}, found [0-9a-f]{64}.*choose that one"
    ):
        load_model(moved, device="cpu", adapter=adapter)


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (
            lambda a: edit(a / "adapter_config.json", base_model_name_or_path="org/other"),
            "expected the base model other",
        ),
        (
            lambda a: edit(a / "adapter_config.json", base_model_name_or_path=None),
            "expected the base model that it names",
        ),
        (lambda a: edit(a / "adapter_config.json", peft_type="LOHA"), "expected a LoRA adapter, found LOHA"),
        (lambda a: (a / "adapter_config.json").write_text("["), r"expected adapter_config\.json that can be read"),
        (lambda a: (a / "adapter_config.json").write_text("[]"), "expected a JSON object"),
        (lambda a: (a / "adapter_config.json").unlink(), "expected a folder with adapter_config"),
        (lambda a: (a / "adapter_model.safetensors").unlink(), "Pickled weights"),
        (lambda a: (a / "adapter_model.safetensors").write_bytes(b"torn"), "that can be read"),
    ],
    ids=["another base", "no base", "another kind", "torn config", "a list", "no config", "no weights", "torn weights"],
)
def test_what_is_no_adapter_of_this_model_is_refused(base: Path, adapter: Path, spoil, found: str) -> None:
    spoil(adapter)
    with pytest.raises(ModelError, match=found) as caught:
        load_model(base, device="cpu", adapter=adapter)
    assert str(adapter) in str(caught.value)


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"intermediate_size": 64}, r"expected model\.layers\.0\.mlp\.down_proj with 48 inputs, found one with 64"),
        ({"num_hidden_layers": 1}, r"expected model\.layers\.1\..* found no such layer in the base model"),
    ],
    ids=["another width", "another depth"],
)
def test_an_adapter_of_a_model_of_another_size_is_refused_whatever_it_is_called(
    base: Path, adapter: Path, tiny_model, config: dict, found: str
) -> None:
    shutil.rmtree(base)
    other = shutil.copytree(tiny_model("splits", **config), base)
    with pytest.raises(ModelError, match=found):
        load_model(other, device="cpu", adapter=adapter)


@pytest.mark.parametrize(("judged", "refused"), [(96, True), (128, False), (200, False), (None, False)])
def test_an_adapter_is_refused_where_more_is_read_at_once_than_it_was_judged_on(
    tmp_path: Path, judged: int | None, refused: bool
) -> None:
    (tmp_path / CARD).write_text(json.dumps({} if judged is None else {"context": judged}))
    if refused:
        with pytest.raises(ModelError, match=r"judged on texts of 128 values.*found one judged on 96. Train anew"):
            examine_context(tmp_path, 128)
    else:
        examine_context(tmp_path, 128)
