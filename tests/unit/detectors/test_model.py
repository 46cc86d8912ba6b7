"""Which model, on which device, in which numbers?"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from typing import TYPE_CHECKING

import pytest
import torch

from detectors.language import model as model_module
from detectors.language.convert import convert_gguf
from detectors.language.error import ModelError
from detectors.language.int8 import Int8Linear
from detectors.language.model import load_model, pick_device, pick_numbers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def folder(tiny_model: Callable[..., Path], tmp_path: Path) -> Path:
    """A model's folder that may be spoilt."""
    return shutil.copytree(tiny_model(), tmp_path / "mymodel")


def test_a_model_is_loaded_and_says_what_it_is(folder: Path) -> None:
    model = load_model(folder, device="cpu", numbers="float32")
    assert model.description.startswith("mymodel on cpu, float32; the tokenizer splits digits")
    assert model.head.shape == (10, 32), "only the rows of the digits"
    assert not any(parameter.requires_grad for parameter in model.body.parameters())


def test_the_right_checksum_loads_and_a_wrong_one_is_refused_before_anything_is_read(folder: Path) -> None:
    weights = folder / "model.safetensors"
    right = hashlib.sha256(weights.read_bytes()).hexdigest()
    load_model(folder, device="cpu", sha256=right)
    weights.write_bytes(weights.read_bytes() + b"\0")
    with pytest.raises(ModelError, match=f"expected sha256 {right}, found [0-9a-f]{{64}}. The file is not the one"):
        load_model(folder, device="cpu", sha256=right)


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda f: (f / "model.safetensors").write_bytes(b"torn"), "found: |expected a causal language model"),
        (lambda f: (f / "tokenizer.json").unlink(), "expected a causal language model with its tokenizer"),
        (lambda f: (f / "config.json").write_text('{"model_type": "never"}'), "num_attention_heads"),
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "Pickled weights"),
    ],
    ids=["torn weights", "no tokenizer", "unknown kind", "pickled"],
)
def test_what_is_no_model_is_refused_by_name(folder: Path, spoil: Callable[[Path], object], found: str) -> None:
    spoil(folder)
    with pytest.raises(ModelError, match=found) as caught:
        load_model(folder, device="cpu")
    assert str(folder) in str(caught.value)


def test_code_that_comes_with_a_model_is_not_run(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}, "model_type": "evil"}
    (folder / "config.json").write_text(json.dumps(config))
    trace = folder / "trace"
    (folder / "evil.py").write_text(f"open({str(trace)!r}, 'w')\nfrom transformers import LlamaConfig as Config\n")
    with pytest.raises(ModelError):
        load_model(folder, device="cpu")
    assert not trace.exists()


def test_a_vocabulary_without_digits_is_refused(tiny_model: Callable[..., Path]) -> None:
    with pytest.raises(ModelError, match="This model cannot read numbers digit by digit"):
        load_model(tiny_model("none"), device="cpu")


@pytest.mark.parametrize(
    "config",
    [
        {"num_key_value_heads": 4},
        {"num_key_value_heads": 1},
        {"head_dim": 16},
        {"attention_bias": True, "mlp_bias": True},
        {"tie_word_embeddings": True},
    ],
    ids=str,
)
def test_heads_of_any_grouping_are_read_as_the_model_reads_itself(tiny_model: Callable[..., Path], config) -> None:
    load_model(tiny_model(**config), device="cpu", numbers="float32")


@pytest.mark.parametrize("kind", ["Mistral", "Qwen2", "Qwen3", "Phi3", "Granite", "Gemma2", "GPT2"])
def test_a_model_of_another_family_is_read_rightly_or_refused(tiny_model, tmp_path: Path, kind: str) -> None:
    """Never a wrong number: what loads gives the probabilities that the model itself gives (`load_model` has compared)."""
    import transformers

    folder = shutil.copytree(tiny_model(), tmp_path / "other")
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "max_position_embeddings": 512}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "initializer_range": 0.4}
    more = {"pad_token_id": 0, "sliding_window": 64} if kind in {"Phi3", "Mistral"} else {}
    if kind == "Granite":
        more = {"logits_scaling": 3.0}
    if kind == "GPT2":
        sizes, heads = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}, {}
    torch.manual_seed(1)
    config = getattr(transformers, f"{kind}Config")(vocab_size=16, **sizes, **heads, **more)
    head = "LMHeadModel" if kind == "GPT2" else "ForCausalLM"
    getattr(transformers, f"{kind}{head}")(config).save_pretrained(folder)
    if kind in {"Mistral", "Qwen2", "Qwen3", "Phi3"}:
        load_model(folder, device="cpu", numbers="float32")
        return
    with pytest.raises(ModelError, match="expected"):
        load_model(folder, device="cpu", numbers="float32")


def test_a_model_that_reads_otherwise_our_way_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = model_module.Reading.attend

    def off(self, layer, query, key, value, scaling):  # noqa: PLR0917 - as it is called
        return honest(self, layer, query, key, value, scaling * 1.1)

    monkeypatch.setattr(model_module.Reading, "attend", off)
    with pytest.raises(ModelError, match=r"same probabilities of digits .* found log probabilities up to"):
        load_model(folder, device="cpu", numbers="float32")


def test_the_device_that_was_asked_for_must_be_there() -> None:
    assert pick_device("cpu").type == "cpu"
    if torch.cuda.is_available():
        assert pick_device("auto").type == "cuda"
    else:
        assert pick_device("auto").type == "cpu"
        with pytest.raises(ModelError, match="expected a GPU, since `device: cuda` was set, found none"):
            pick_device("cuda")


def test_free_memory_is_what_the_machine_has_left() -> None:
    free = model_module.free_memory(torch.device("cpu"))
    assert 2**20 < free < 2**50


@pytest.mark.parametrize(
    ("matrix", "integer", "picked"), [(True, True, "bfloat16"), (False, True, "int8"), (False, False, "float32")]
)
def test_numbers_are_those_that_the_processor_multiplies(monkeypatch, matrix, integer, picked) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: matrix)
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: integer)
    assert pick_numbers(torch.device("cpu")) == picked


def test_an_8_bit_layer_is_near_and_answers_each_token_alone() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(64, 96)
    small, large = torch.randn(1, 5, 64), 1000 * torch.randn(1, 5, 64)
    quantised = Int8Linear(layer)
    with torch.inference_mode():
        alone = quantised(small)
        beside = quantised(torch.cat((small, large)))[:1]
        true = layer(small)
    assert torch.equal(alone, beside)
    assert float((alone - true).abs().max()) < 0.03 * float(true.abs().max())


def test_8_bit_layers_stand_where_they_do_no_harm(folder: Path) -> None:
    model = load_model(folder, device="cpu", numbers="int8")
    kinds = {name.split(".")[-1]: type(part).__name__ for name, part in model.body.named_modules()}
    assert kinds["gate_up"] == kinds["query_key_value"] == "Int8Linear"
    assert kinds["down"] == "Linear"
    assert "int8" in model.description


def test_a_file_that_is_no_gguf_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    for name, content in (("a.gguf", b"PK\x03\x04"), ("b.gguf", b"GGUF" + bytes(40))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match="expected a"):
            convert_gguf(tmp_path / name, tmp_path / "cache" / "made")
    with pytest.raises(ModelError, match="No such file"):
        convert_gguf(tmp_path / "c.gguf", tmp_path / "cache" / "made")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.model
def test_the_default_model_loads_from_the_cache_in_seconds_and_costs_little_in_its_best_numbers(default_model) -> None:
    began = time.monotonic()
    best = load_model(default_model, device="cpu")
    took = time.monotonic() - began
    # 0.6 s on an idle machine; the limit leaves room for one that is not.
    assert took < 15
    exact = load_model(default_model, device="cpu", numbers="float32")
    tokens = model_module._proof_tokens(exact.alphabet)
    assert len(tokens) == 1 + 4 * 5
    apart = (model_module._read_our_way(best) - model_module._read_our_way(exact)).abs()
    assert float(apart.mean()) < 0.1
    assert math.isclose(float(model_module._read_our_way(best).exp().sum(-1).mean()), 1.0, rel_tol=1e-3)
