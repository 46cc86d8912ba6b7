"""Do tokens go through the model as they do through the library's own layers?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import nn

from detectors.language.body import Body, LibraryBody, take_apart
from detectors.language.cache import ATTENTION, Cache, Reading
from detectors.language.packed import PackedLinear, can_pack, pack
from detectors.language.plan import Shape

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "head_dim": 16,  # not hidden_size / heads, as some of these models have it
}
SHAPE = Shape(
    layers=3, heads=4, kv_heads=2, head_size=16, hidden=32, intermediate=48, longest=256, weights_bytes=0, stored_bytes=4
)  # fmt: skip


def model_of(family: str, **more: Any) -> Any:
    torch.manual_seed(5)
    config = transformers.AutoConfig.for_model(family, **SIZES, **more)
    whole = (
        transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        .eval()
        .requires_grad_(requires_grad=False)
    )
    for parameter in whole.parameters():
        # Away from what they begin as: a norm of ones or a bias of noughts would hide a mistake.
        parameter.add_(0.3 * torch.randn_like(parameter))
    return whole


def read(body: nn.Module, tokens: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Two passes over texts of different lengths in the cache: hidden states of the second."""
    cache = Cache(SHAPE, rows=2, capacity=32, device=torch.device("cpu"), dtype=dtype)
    rows = torch.tensor([0, 1])
    with torch.inference_mode():
        body(tokens[:, :9], Reading(cache, rows, torch.tensor([0, 0]), 9))
        hidden: torch.Tensor = body(tokens[:, 9:], Reading(cache, rows, torch.tensor([9, 6]), 4))
    return hidden


@pytest.mark.parametrize(
    ("family", "more"),
    [
        ("llama", {}),
        ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5e4}}),
        ("llama", {"attention_bias": True, "mlp_bias": True}),
        ("mistral", {"sliding_window": None}),
        ("qwen2", {}),
        ("qwen3", {}),
    ],
)
def test_a_known_family_is_taken_apart_and_reads_as_the_library_does(family: str, more: dict) -> None:
    tokens = torch.randint(64, (2, 13), generator=torch.Generator().manual_seed(1))
    whole = model_of(family, **more)
    whole.set_attn_implementation(ATTENTION)
    slow = read(LibraryBody(whole.base_model), tokens)
    weights = sum(parameter.numel() for parameter in whole.base_model.parameters())
    fast = take_apart(whole, SHAPE)
    assert isinstance(fast, Body)
    assert sum(parameter.numel() for parameter in fast.parameters()) == weights, "every weight is there once"
    assert read(fast, tokens) == pytest.approx(slow, abs=2e-5)


@pytest.mark.parametrize("family", ["phi3", "olmo2"])
def test_another_architecture_keeps_the_librarys_layers(family: str) -> None:
    whole = model_of(family, pad_token_id=0)
    assert isinstance(take_apart(whole, SHAPE), LibraryBody)


def test_another_activation_keeps_the_librarys_layers() -> None:
    assert isinstance(take_apart(model_of("llama", hidden_act="gelu"), SHAPE), LibraryBody)


@pytest.mark.parametrize("bias", [True, False])
def test_packed_layers_answer_as_the_layers_they_stand_for(bias: bool) -> None:
    if not can_pack(torch.device("cpu"), torch.bfloat16):
        pytest.skip("torch was built without oneDNN")
    torch.manual_seed(2)
    whole = nn.Sequential(nn.Linear(64, 96, bias=bias), nn.Sequential(nn.Linear(96, 32, bias=bias))).to(torch.bfloat16)
    whole.requires_grad_(requires_grad=False)
    given = [torch.randn(*shape, 64).to(torch.bfloat16) for shape in ((1, 1), (20, 4), (3, 300))]
    with torch.inference_mode():
        expected = [whole(inputs).float() for inputs in given]
        pack(whole)
        found = [whole(inputs).float() for inputs in given]
    assert [type(part) for part in whole.modules() if not isinstance(part, nn.Sequential)] == [PackedLinear] * 2
    for a, b in zip(expected, found, strict=True):
        assert b.shape == a.shape
        assert float((a - b).abs().max()) <= 2**-7 * float(a.abs().max()), "one step of bfloat16"


def test_only_a_processor_and_bfloat16_are_packed_for() -> None:
    assert not can_pack(torch.device("cpu"), torch.float32)
    assert not can_pack(torch.device("cuda"), torch.bfloat16)
