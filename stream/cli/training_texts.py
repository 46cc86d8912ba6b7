"""What can other tools learn of a history? The texts of a training as Parquet, a prompt and a response each."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from detectors.language.alphabet import SEPARATOR
from detectors.language.wording import conversation
from detectors.training.dataset import DatasetError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from detectors.evaluation.backtest import Series
    from detectors.language.wording import Style
    from detectors.training.dataset import Dataset, Example

__all__ = ["STYLES", "write_texts"]

STYLES = ("digits", "json", "role")
LEAST_SHOWN = 8
"""Values of the past below which the instruction prompts ask for nothing, and a text gives none."""


def write_texts(
    dataset: Dataset, groups: Sequence[Sequence[Series]], path: Path, *, style: str = "digits", horizon: int = 12
) -> int:
    """Writes the texts of all parts in a style, and returns how many there are. Raises DatasetError without pyarrow.

    In digits a text is what Givre itself learns. As a prompt it is the same values: the last `horizon` of them are asked for.
    """
    if find_spec("pyarrow") is None:
        raise DatasetError(f"{path}: expected pyarrow to write Parquet with, found none: pip install 'givre[evaluate]'")
    import pyarrow as pa
    from pyarrow import parquet

    series = {one.tag: one for group in groups for one in group}
    rows = []
    for part, texts in dataset.parts.items():
        for text in texts:
            if style != "digits":
                said = _asked("role" if style == "role" else "json", text, series[text.tag], horizon)
            else:
                said = {"prompt": _digits(text, 0, text.known), "response": _digits(text, text.known, len(text.cells))}
            if said:
                begin = datetime.fromtimestamp(text.at, UTC)
                rows.append({**said, "tag": text.tag, "part": part, "begin": begin})
                if style == "digits":
                    rows[-1] |= {"low": text.low, "cell": text.cell}
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows), path)
    return len(rows)


def _digits(text: Example, first: int, end: int) -> str:
    return "".join(f"{cell:03d}{SEPARATOR}" for cell in text.cells[first:end])


def _asked(style: Style, text: Example, series: Series, horizon: int) -> Mapping[str, Any] | None:
    """The question and its right answer; None where too little would be shown."""
    shown = len(text.cells) - horizon
    if shown < LEAST_SHOWN:
        return None
    origin = text.begin + shown - 1
    window = series.window(origin, context=shown)
    found = conversation(style, window, series.values[origin + 1 : origin + 1 + horizon].tolist())
    return {"system": found.role, "prompt": found.prompt, "response": found.response}
