"""How much memory will the model take?"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from detectors.language.error import ModelError
from detectors.language.plan import FORK_BYTES, LIBRARY_BYTES, Shape, plan_memory, read_shape

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = {
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "max_position_embeddings": 8192,
    "dtype": "bfloat16",
}
WAYS = {"tags": 5, "context": 128, "samples": 16, "horizon": 12, "number_bytes": 4}


def folder(path: Path, config: dict[str, object], *, weights: int = 1000) -> Path:
    (path / "config.json").write_text(json.dumps(config))
    (path / "model.safetensors").write_bytes(b"x" * weights)
    return path


def test_a_token_takes_layers_x_heads_x_size_x_two(tmp_path: Path) -> None:
    shape = read_shape(folder(tmp_path, CONFIG))
    assert shape.token_bytes(4) == 30 * 3 * 64 * 2 * 4
    plan = plan_memory(shape, **WAYS)
    assert plan.per_tag == (1 + 128 * 4) * 46_080
    assert plan.weights == 2 * 1000  # bfloat16 on disk, float32 in memory
    # 5 tags x 16 futures x 12 steps fit in one turn; the texts of its tags are copied for it.
    assert plan.forks == 5 * (16 * 12 * 4 * 46_080 + plan.per_tag)
    many = plan_memory(shape, **{**WAYS, "tags": 1000})
    assert many.forks <= FORK_BYTES + 7 * plan.per_tag
    assert plan.total == plan.weights + 5 * plan.per_tag + plan.forks + plan.activations + LIBRARY_BYTES
    assert "5 tags at 23 MiB" in str(plan)


def test_what_does_not_fit_is_refused_with_the_numbers_and_three_ways_out(tmp_path: Path) -> None:
    shape = read_shape(folder(tmp_path, CONFIG))
    plan = plan_memory(shape, **{**WAYS, "tags": 10_000})
    plan.require(plan.total, where="cpu")
    room = plan.total - 9_950 * plan.per_tag
    with pytest.raises(ModelError, match=r"fewer tags \(50 fit\), a shorter `context`, or a smaller model") as caught:
        plan.require(room, where="cpu")
    assert "10000 tags at 23 MiB" in str(caught.value)


@pytest.mark.parametrize("more", [{}, {"sliding_window": 512, "max_position_embeddings": 32768}])
def test_a_context_longer_than_the_models_is_refused_with_the_longest_that_goes(tmp_path: Path, more: dict) -> None:
    shape = read_shape(folder(tmp_path, {**CONFIG, "max_position_embeddings": 512, **more}))
    with pytest.raises(ModelError, match="Set `context` to 115 or less"):
        plan_memory(shape, **WAYS)
    plan_memory(shape, **{**WAYS, "context": 115})


def test_a_sliding_window_that_is_not_used_shortens_nothing(tmp_path: Path) -> None:
    shape = read_shape(folder(tmp_path, {**CONFIG, "sliding_window": 64, "use_sliding_window": False}))
    assert shape.longest == 8192


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ("{", "expected a config.json that can be read"),
        ("[]", "expected a JSON object in config.json, found list"),
        ("{}", "found none with a usable 'num_attention_heads'"),
        (json.dumps({**CONFIG, "num_attention_heads": 0}), "division"),
    ],
)
def test_a_config_of_something_else_is_refused_by_name(tmp_path: Path, config: str, found: str) -> None:
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ModelError, match=found) as caught:
        read_shape(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_folder_without_weights_or_with_pickled_ones_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="found nothing there"):
        read_shape(tmp_path / "nowhere")
    with pytest.raises(ModelError, match=r"found no config\.json"):
        read_shape(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(ModelError, match=r"found config\.json, pytorch_model\.bin\. Pickled weights .* never loaded"):
        read_shape(tmp_path)


def test_the_plan_needs_no_torch() -> None:
    code = "import sys; import detectors.language.plan, detectors.language.codec, detectors.language.alphabet; "
    code += "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_shape_without_grouped_heads_has_as_many_as_its_queries(tmp_path: Path) -> None:
    config = {k: v for k, v in CONFIG.items() if k != "num_key_value_heads"}
    shape: Shape = read_shape(folder(tmp_path, config))
    assert shape.kv_heads == 9
