"""What does a user see of an evaluation? A table in the terminal, a page to pass on, and every forecast as Parquet."""

from __future__ import annotations

import math
from datetime import UTC
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from detectors.evaluation.report import Column, render, words
from detectors.records import LEVELS
from stream.cli.evaluation import EvaluationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from detectors.evaluation.report import Result
    from stream.cli.evaluation import Outcome

__all__ = ["print_outcome", "require_parquet", "write_outcome"]

_COLUMNS: tuple[Column, ...] = (
    Column(name="MAE", of=lambda f: f.plain.error.mean),
    Column(name="% mean", of=lambda f: f.plain.error_percent),
    Column(name="MASE", of=lambda f: f.overall.mase),
    Column(name="pinball", of=lambda f: f.overall.pinball),
    Column(name="log p", of=lambda f: f.overall.log_score),
    Column(name="in 80 %", of=lambda f: 100 * f.overall.coverage80),
    Column(name="seconds", of=lambda f: f.seconds),
)
"""As many as a terminal of 80 characters shows whole; the report has all."""
_EXTRA = "Install it with the extra: pip install 'givre[evaluate]'"


def print_outcome(outcome: Outcome, console: Console) -> None:
    """A table per tag, what was done to its history, and what is not there."""
    for result in outcome.results:
        table = Table(
            title=result.tag, title_justify="left", header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
        )
        table.add_column("forecaster", no_wrap=True, min_width=max(len(f.forecaster) for f in result.figures))
        for column in _COLUMNS:
            table.add_column(column.name, justify="right", no_wrap=True)
        for figures in result.figures:
            table.add_row(figures.forecaster, *(_brief(column.of(figures)) for column in _COLUMNS))
        console.print(table)
        for line in result.treatments:
            console.print(f"  {line}", highlight=False, markup=False)
    for line in outcome.left_out:
        console.print(f"left out: {line}", style="yellow", highlight=False, markup=False)


def _brief(number: float) -> str:
    """Three digits, eight characters at most: the report has more of them."""
    if not math.isfinite(number):
        return words(number)
    return f"{number:,.0f}" if 1000 <= abs(number) < 1e6 else f"{number:.3g}"


def require_parquet() -> None:
    """Raises EvaluationError where Parquet cannot be written: to be called before the work, not after it."""
    try:
        import pyarrow as _  # noqa: F401, ICN001 - only whether it is there
    except ImportError:
        raise EvaluationError(
            f"--out: expected pyarrow to write Parquet with, found none installed. {_EXTRA}"
        ) from None


def write_outcome(outcome: Outcome, folder: Path, *, title: str) -> list[Path]:
    """report.html and forecasts.parquet, in a folder that is made if need be. Raises EvaluationError."""
    page, table = folder / "report.html", folder / "forecasts.parquet"
    text = render(title, outcome.results, facts=outcome.facts, left_out=outcome.left_out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")
        _write_forecasts(outcome.results, table)
    except OSError as error:
        raise EvaluationError(
            f"--out {folder}: expected a folder that can be written, found: {error.strerror or error}"
        ) from None
    return [page, table]


def _write_forecasts(results: Sequence[Result], path: Path) -> None:
    """A row per forecast step: who, of what, made when, for when, the quantiles, and what was measured."""
    import pyarrow as pa
    from pyarrow import parquet

    names = [f"q{round(level * 100):02d}" for level in LEVELS]
    text, moment = pa.dictionary(pa.int32(), pa.string()), pa.timestamp("us", tz="UTC")
    fields = [("tag", text), ("forecaster", text), ("made_at", moment), ("at", moment), ("lead", pa.int32())]
    schema = pa.schema([*fields, *((name, pa.float64()) for name in names), ("measured", pa.float64())])
    with parquet.ParquetWriter(path, schema) as writer:
        for run in (run for result in results for run in result.runs):
            series, (origins, horizon) = run.series, run.quantiles.shape[:2]
            flat = run.quantiles.reshape(-1, len(LEVELS))
            given = np.isfinite(flat[:, 0])
            made = np.repeat(run.origins, horizon)
            lead = np.tile(np.arange(1, horizon + 1), origins)
            start, period = series.start_at.astimezone(UTC).timestamp(), series.period_s

            def moments(steps: Any, *, start: float = start, period: float = period) -> Any:
                return pa.array(np.round((start + steps * period) * 1e6).astype("int64")).cast(moment)

            columns: list[Any] = [
                pa.array([series.tag] * int(given.sum())).cast(text),
                pa.array([run.forecaster] * int(given.sum())).cast(text),
                moments(made[given]),
                moments((made + lead)[given]),
                pa.array(lead[given].astype("int32")),
                *(pa.array(flat[given, k]) for k in range(len(LEVELS))),
                pa.array([value if math.isfinite(value) else None for value in run.measured.ravel()[given].tolist()]),
            ]
            writer.write_table(pa.table(columns, schema=schema))
