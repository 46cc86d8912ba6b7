"""Which model, on which device, in which numbers? Loads a causal language model from local files, and nothing else.

Only safetensors are read, no code that comes with a model is run, and no hub is asked. Of the output head only the rows of
the alphabet are kept: nothing else can be said, and the rest of the vocabulary costs nothing. Before a model is used it
reads one line twice, once our way and once its own: a model that reads differently is refused.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from detectors.language.adapter import merge_adapter
from detectors.language.alphabet import Alphabet, choose_alphabet
from detectors.language.body import take_apart
from detectors.language.cache import ATTENTION, Cache, Reading
from detectors.language.error import ModelError
from detectors.language.int8 import quantise
from detectors.language.packed import PackedLinear, can_pack, pack
from detectors.language.plan import Shape, read_shape
from detectors.language.speech import find_speech

if TYPE_CHECKING:
    from torch import Tensor, nn

    from detectors.language.cache import Pass
    from detectors.language.speech import Speech

__all__ = [
    "DTYPES",
    "LanguageModel",
    "check_sha256",
    "free_memory",
    "is_out_of_memory",
    "load_model",
    "pick_device",
    "pick_numbers",
    "release",
]

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.float32,  # weights and inputs of most layers; everything else is float32
}
"""How each kind of numbers is loaded and computed in."""
PROOF_CELLS = (512, 498, 503, 40, 999)
PROOF_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.3, torch.float16: 0.1}
"""How far log probabilities may lie apart between our reading and the model's own, by the numbers it computes in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModel:
    """A loaded model: `body` without its head, and `head`, the rows of the alphabet's symbols, shape (symbols, hidden).

    `spoken` is what instruction prompts need besides; None where the vocabulary has not got it.
    """

    body: nn.Module
    head: Tensor
    alphabet: Alphabet
    shape: Shape
    device: torch.device
    dtype: torch.dtype
    numbers: str
    name: str
    spoken: Speech | None = None

    @property
    def description(self) -> str:
        """What was loaded, in one line."""
        return f"{self.name} on {self.device}, {self.numbers}; {self.alphabet.description}"

    def run(self, tokens: Tensor, reading: Pass) -> Tensor:
        """One pass over `tokens` (texts, tokens): hidden states behind each, shape (texts, tokens, hidden)."""
        with torch.inference_mode():
            hidden: Tensor = self.body(tokens, reading)
        return hidden

    def log_probabilities(self, hidden: Tensor) -> Tensor:
        """Of the symbols that come next, given that one of them comes; float32, shape (..., symbols)."""
        with torch.inference_mode():
            return (hidden @ self.head.T).float().log_softmax(-1)


def load_model(
    folder: Path,
    *,
    device: str = "auto",
    numbers: str = "auto",
    sha256: str | None = None,
    adapter: Path | None = None,
) -> LanguageModel:
    """The model in a folder of Hugging Face layout, with the LoRA adapter in another one merged into it, if there is one.

    `numbers` is float32, bfloat16, float16, int8 or auto (see `pick_numbers`). Raises ModelError for what is no such model,
    has no digits in its vocabulary, has another `sha256` (of model.safetensors), does not read as Givre reads, and for an
    adapter of another model.
    """
    shape = read_shape(folder)
    if sha256 is not None:
        check_sha256(folder / "model.safetensors", sha256)
    where = pick_device(device)
    kind = pick_numbers(where) if numbers == "auto" else numbers
    if where.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(spare_cores())
    silence()
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **local)
        # What is merged is added up in float32: small differences would be lost in fewer digits.
        dtype = DTYPES[kind] if adapter is None else torch.float32
        whole: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True, **local)
    except Exception as error:
        # The library raises whatever its parsers raise; what matters to the user is the folder.
        first = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise ModelError(
            f"model {folder}", expected="a causal language model with its tokenizer", found=first
        ) from error
    name = folder.name
    if adapter is not None:
        weights = folder / "model.safetensors"
        whole = merge_adapter(whole, adapter, base=name, sha256=lambda: sha256_of(weights)).to(DTYPES[kind])
        name = f"{name} with {adapter.name}"
    letters = choose_alphabet(tokenizer)
    tied = bool(getattr(whole.config, "tie_word_embeddings", False))
    spoken = find_speech(tokenizer, whole.get_output_embeddings().weight.detach().to(where), tied=tied)
    model = prepare(whole, letters, shape, device=where, numbers=kind, name=name)
    return replace(model, spoken=spoken)


def prepare(
    whole: Any, letters: Alphabet, shape: Shape, *, device: torch.device, numbers: str, name: str
) -> LanguageModel:
    """A model of transformers, ready to read; raises ModelError if it reads otherwise than on its own."""
    whole.eval().requires_grad_(requires_grad=False)
    whole.to(device)
    own = _read_its_own_way(whole, letters, device)
    whole.set_attn_implementation(ATTENTION)
    head = whole.get_output_embeddings().weight[list(letters.symbols)].clone()
    body = take_apart(whole, shape, finish=pack if can_pack(device, DTYPES[numbers]) else lambda _: None)
    model = LanguageModel(
        body=body,
        head=head,
        alphabet=letters,
        shape=shape,
        device=device,
        dtype=DTYPES[numbers],
        numbers=numbers,
        name=name,
    )
    apart = float((_read_our_way(model) - own).abs().max())
    if not apart <= PROOF_TOLERANCE[model.dtype]:
        raise ModelError(
            f"model {name}",
            expected="the same probabilities of digits read our way and its own",
            found=f"log probabilities up to {apart:.3g} apart",
            advice="Choose a model of the Llama, Mistral or Qwen families",
        )
    if numbers == "int8":
        quantise(model.body)
    tensors = (*model.body.parameters(), *model.body.buffers(), model.head)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    weights += sum(part.bytes for part in model.body.modules() if isinstance(part, PackedLinear))
    return replace(model, shape=replace(shape, weights_bytes=weights, stored_bytes=model.dtype.itemsize))


def check_sha256(file: Path, expected: str) -> None:
    """Raises ModelError unless the file has that checksum."""
    try:
        found = sha256_of(file)
    except OSError as error:
        raise ModelError(f"weights {file}", expected=f"a file with sha256 {expected}", found=str(error)) from None
    if found != expected:
        raise ModelError(
            f"weights {file}",
            expected=f"sha256 {expected}",
            found=found,
            advice="The file is not the one that was configured: fetch it again, or correct `sha256`",
        )


def sha256_of(file: Path) -> str:
    """Checksum of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def silence() -> None:
    """Keeps progress bars and advice of transformers out of the service's log; errors are raised anyway."""
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call] # transformers has hints in part only
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call] # the same


def pick_device(wanted: str) -> torch.device:
    """The device of a setting; raises ModelError for a GPU that is not there."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            "device of the model",
            expected="a GPU, since `device: cuda` was set",
            found="none that torch can use",
            advice="Set `device: auto` or `cpu`",
        )
    return torch.device(wanted)


def spare_cores() -> int:
    """Cores that this process may compute on: all that it is given but one.

    Threads that compute wait for each other after every operation, at full speed. Where one of them has to share its core
    with the rest of the service, all of them wait for it: measured, a forecast took 17 times as long.
    """
    return max(len(os.sched_getaffinity(0)) - 1, 1)


def free_memory(device: torch.device) -> int:
    """Bytes that can still be taken there; on the processor, of the machine and of our control group, the lesser."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        group = Path("/sys/fs/cgroup") / line.partition("::")[2].lstrip("/")
        with suppress(OSError, ValueError):  # another kind of control group, or no limit ("max")
            limit = int((group / "memory.max").read_text(encoding="ascii"))
            free = min(free, limit - int((group / "memory.current").read_text(encoding="ascii")))
    return free


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device had no more memory to give; the processor's allocator has no type of its own for it."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def release(device: torch.device) -> None:
    """Gives memory that torch holds for later back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def pick_numbers(device: torch.device) -> str:
    """The numbers that are fastest there and cost less than 0.01 nats per value: what the hardware can multiply decides."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    if torch.cpu._is_amx_tile_supported():  # noqa: SLF001 - there is no public word for it
        return "bfloat16"
    return "int8" if torch.cpu._is_vnni_supported() else "float32"  # noqa: SLF001 - the same


def _proof_tokens(letters: Alphabet) -> list[int]:
    return [letters.begin, *(token for cell in PROOF_CELLS for token in letters.tokens(cell))]


def _read_its_own_way(whole: Any, letters: Alphabet, device: torch.device) -> Tensor:
    with torch.inference_mode():
        logits = whole(torch.tensor([_proof_tokens(letters)], device=device), use_cache=False).logits
    own: Tensor = logits[0][:, list(letters.symbols)].float().log_softmax(-1)
    return own


def _read_our_way(model: LanguageModel) -> Tensor:
    """Two texts of different lengths in two passes each, as in service; the answer is the second text's."""
    tokens = _proof_tokens(model.alphabet)
    half = len(tokens) // 2
    cache = Cache(model.shape, rows=2, capacity=2 * len(tokens), device=model.device, dtype=model.dtype)

    def run(rows: list[int], lengths: list[int], text: list[int]) -> Tensor:
        reading = Reading(
            cache, torch.tensor(rows, device=model.device), torch.tensor(lengths, device=model.device), len(text)
        )
        return model.run(torch.tensor([text] * len(rows), device=model.device), reading)[-1]

    try:
        run([0], [0], tokens)
        first = run([1], [0], tokens[:half])
        second = run([0, 1], [len(tokens), half], tokens[half:])
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"model {model.name}",
            expected="a model that can be read with a cache of ours",
            found=f"{type(error).__name__}: {error}"[:300],
            advice="Choose a model of the Llama, Mistral or Qwen families",
        ) from error
    return model.log_probabilities(torch.cat((first, second)))
