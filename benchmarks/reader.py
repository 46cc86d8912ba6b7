"""What does a scored value cost, read once, against asking the model again with the whole window?

Three ways to the same answer, with the same model, numbers, batch and context: the reader, which keeps what it has read;
a plain pass over the whole window for every new value; and LLMTime's way (Gruver et al. 2023), ten continuations of one value
sampled by transformers' own generate. Beside it stands what the machine could do: operations and bytes of a value,
from the model's config, against a plain matrix product and a plain copy in the same run.

usage: python -m benchmarks.reader [--batches 1 5 20 100] [--device auto] [--numbers auto] [--model FOLDER]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM

from benchmarks.machine import machine
from benchmarks.reader_memory import measure_memory
from benchmarks.reader_roofline import Roofline, breakdown
from benchmarks.reader_windows import make_windows
from detectors.language.codec import Grid, life
from detectors.language.int8 import quantise
from detectors.language.model import DTYPES, load_model
from detectors.language.reader import Reader
from stream.model.weights import default_model

if TYPE_CHECKING:
    from detectors.language.model import LanguageModel

CONTEXT = 128
GROWTH = (32, 64, 128, 256)
HEADLINE = 20
LLMTIME_SAMPLES = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 5, HEADLINE, 100])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--numbers", default="auto", choices=("auto", *DTYPES))
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--repeats", type=int, default=3, help="the fastest of so many runs counts, everywhere")
    options = parser.parse_args()
    folder = options.model or default_model()
    console = Console(width=max(Console().width, 120))
    taken, planned, memory_table = measure_memory(folder, device=options.device, numbers=options.numbers)
    started = time.perf_counter()
    model = load_model(folder, device=options.device, numbers=options.numbers)
    load_s = time.perf_counter() - started
    if model.device.type == "cpu":
        torch.set_num_threads(torch.get_num_interop_threads())
    where = torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else machine()
    console.print(f"{where}\n{model.description}; {torch.get_num_threads()} threads; loaded in {load_s:.1f} s\n")

    roofline = Roofline(model, context=CONTEXT)
    console.print(roofline.machine)
    read_s = {batch: _read(model, batch, CONTEXT, _steps(batch), options.repeats) for batch in options.batches}
    table = Table(title=f"the reader, context {CONTEXT} values, texts that begin anew included")
    for head in ("batch", "values/s", "ms a value", "ms a step", "of the roofline", "bound by", "where the time goes"):
        table.add_column(head, justify="left" if head.startswith(("bound", "where")) else "right")
    fractions = {}
    for batch, seconds in read_s.items():
        fractions[batch], bound = roofline.fraction(batch, seconds)
        spent = _spent(model, batch)
        row = f"{batch}", f"{1 / seconds:.1f}", f"{seconds * 1e3:.2f}", f"{seconds * batch * 1e3:.1f}"
        table.add_row(*row, f"{fractions[batch]:.0%}", bound, spent)
    console.print(table)

    growth = {
        context: _read(model, HEADLINE, context, life(context, _shortest(context)), options.repeats)
        for context in GROWTH
    }
    table = Table(title=f"how the cost of a value grows with the context, batch {HEADLINE}")
    for head in ("context", "ms a value", "values/s"):
        table.add_column(head, justify="right")
    for context, seconds in growth.items():
        table.add_row(f"{context}", f"{seconds * 1e3:.2f}", f"{1 / seconds:.1f}")
    console.print(table)

    peer = _Peer(folder, model, options.repeats)
    batch = HEADLINE if HEADLINE in read_s else max(read_s)
    # The three ways take turns on the same machine: what else it does at the time is shared alike.
    again_s = min(peer.score(batch) for _ in range(2))
    read_s[batch] = min(read_s[batch], _read(model, batch, CONTEXT, _steps(batch), options.repeats))
    llmtime_s = peer.sample(batch)
    table = Table(title=f"cost of a scored value, batch {batch}, context {CONTEXT}")
    for head in ("way", "ms a value", "times the reader"):
        table.add_column(head, justify="left" if head == "way" else "right")
    for way, seconds in (
        ("the reader", read_s[batch]),
        ("the whole window again, one pass", again_s),
        (f"LLMTime: {LLMTIME_SAMPLES} samples of one value by generate", llmtime_s),
    ):
        table.add_row(way, f"{seconds * 1e3:,.1f}", f"{seconds / read_s[batch]:,.1f}")
    console.print(table)
    console.print(memory_table)
    result = {
        "scoring_ratio": round(again_s / read_s[batch], 1),
        "llmtime_ratio": round(llmtime_s / read_s[batch], 1),
        "values_per_s": {str(b): round(1 / s, 1) for b, s in read_s.items()},
        "values_per_s_by_context": {str(c): round(1 / s, 1) for c, s in growth.items()},
        "memory_ratio": round(taken / planned, 3),
        "roofline_fraction": {str(b): round(f, 3) for b, f in fractions.items()},
        "load_s": round(load_s, 2),
        "device": where,
        "dtype": model.numbers,
        "threads": torch.get_num_threads(),
        "model": model.name,
    }
    print(json.dumps(result))


def _steps(batch: int) -> int:
    """One life of a text; many tags begin anew at steps of their own, and show it in a quarter of that."""
    lives = life(CONTEXT, _shortest(CONTEXT))
    return lives if batch < 100 else lives // 4


def _shortest(context: int) -> int:
    return min(16, context // 2)


def _primed(model: LanguageModel, batch: int, context: int) -> Reader:
    """A reader whose texts have begun, after two steps to warm up."""
    reader = Reader(model, context=context, min_context=_shortest(context))
    for step in range(3):
        reader.read(make_windows(batch, context, step))
    _synchronise(model)
    return reader


def _read(model: LanguageModel, batch: int, context: int, steps: int, repeats: int) -> float:
    """Seconds a value: the fastest of some runs, since whatever else the machine does can only add to it."""
    seconds = []
    for _ in range(repeats):
        reader = _primed(model, batch, context)
        turns = [make_windows(batch, context, step) for step in range(3, 3 + steps)]
        started = time.perf_counter()
        scored = sum(len(scores) for windows in turns for scores in reader.read(windows))
        _synchronise(model)
        seconds.append((time.perf_counter() - started) / scored)
        assert scored == batch * steps, f"reader: expected {batch * steps} scores, found {scored}"
    return min(seconds)


def _spent(model: LanguageModel, batch: int) -> str:
    """On what the time of a few steps goes, in one line."""
    reader = _primed(model, batch, CONTEXT)

    def read() -> None:
        for step in range(3, 3 + 8):
            reader.read(make_windows(batch, CONTEXT, step))

    return breakdown(read)


def _synchronise(model: LanguageModel) -> None:
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)


class _Peer:
    """The same weights in transformers' own model, with its own attention and its own cache."""

    def __init__(self, folder: Path, model: LanguageModel, repeats: int) -> None:
        whole: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=model.dtype, local_files_only=True)
        whole.eval().to(model.device)
        if model.numbers == "int8":
            quantise(whole.base_model)
        self._whole = whole
        self._model = model
        self._repeats = repeats

    def _texts(self, batch: int) -> torch.Tensor:
        alphabet, rows = self._model.alphabet, []
        for window in make_windows(batch, CONTEXT, 0):
            grid = Grid.lay(window.values)
            cells = [grid.encode(value) for value in window.values]
            rows.append([alphabet.begin, *(token for cell in cells for token in alphabet.tokens(cell or 0))])
        return torch.tensor(rows, device=self._model.device)

    def score(self, batch: int) -> float:
        """Seconds a value: one pass over the whole window; logits of the last value's tokens alone."""
        texts = self._texts(batch)
        keep = self._model.alphabet.tokens_per_value
        return self._time(batch, lambda: self._whole(texts, use_cache=False, logits_to_keep=keep), times=self._repeats)

    def sample(self, batch: int) -> float:
        """Seconds a value: ten sampled continuations of one value, prompt included."""
        texts = self._texts(batch)
        tokens = self._model.alphabet.tokens_per_value
        config = self._whole.generation_config
        # As LLMTime samples: temperature 0.7, nucleus 0.9; exactly one value's tokens.
        config.update(
            do_sample=True,
            temperature=0.7,
            top_p=0.9,
            num_return_sequences=LLMTIME_SAMPLES,
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            pad_token_id=config.eos_token_id,
        )
        mask = torch.ones_like(texts)
        return self._time(
            batch, lambda: self._whole.generate(texts, attention_mask=mask, generation_config=config), times=1
        )

    def _time(self, batch: int, work: Any, *, times: int) -> float:
        seconds = []
        with torch.inference_mode():
            for _ in range(times):
                _synchronise(self._model)
                started = time.perf_counter()
                work()
                _synchronise(self._model)
                seconds.append((time.perf_counter() - started) / batch)
        return min(seconds)


if __name__ == "__main__":
    main()
