"""What did the repeated study find, in words and tables? The text of docs/study.md, worst news included."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from benchmarks.machine import machine
from detectors.evaluation.report import FIELD, NORMALISED, STUDY, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detectors.evaluation.figures import Figures
    from detectors.evaluation.metrics import Summary
    from detectors.evaluation.report import Column

__all__ = ["Entry", "study_page"]

REFERENCE = {"harmonic": 5.4, "seasonal": 18.1, "smoothing": 19.5, "arima": 20.8, "language": 9.0}
"""Error in % of the mean, measured with other implementations of the same kind of method on the same test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One forecaster of the study: its label here, its name in the roster, and the days that the language model reads.

    `preset` is the training of its adapter, if it has one.
    """

    label: str
    name: str
    context: int = 0
    preset: str = ""

    @property
    def language(self) -> bool:
        """Whether a language model forecasts."""
        return self.name.startswith("language")

    @property
    def reference(self) -> float | None:
        """What was measured before for this kind of method."""
        return None if self.preset else REFERENCE.get(self.name)


PAGE = """\
# The field study, repeated

This page is written by `make study`.

The field study of 2024 asked language models for the daily electricity load of France: the 61 days from 2014-11-01, in one shot.
It hoped that they would forecast better than exponential smoothing.
Here the same question is put to every forecaster of Givre, from the days between 2012-01-01 and 2014-10-31.
The language model is SmolLM2-135M, as it came; where it was tuned, its label says so.
No forecaster was given anything but the load: no temperature, and no holidays.

![Measured and forecast, the best by pinball loss first](study.svg)

Measured on {machine}, {day}.

## What came of it

{verdicts}
{tuned}- For scale: the grid operator's forecast of the day before misses by {day_ahead:.2f} %; it knew the weather and yesterday.
{missing}
## The study's figures

{study}

## The study's figures, on normalised values

0 is the lowest and 1 the highest day before the test.

{normalised}

## The field's figures

What they mean stands in [evaluate.md](evaluate.md).
One shot is one path of 61 days: its coverage is that of one season, not a property of the forecaster.

{field}

## How

- *panel*: before the test it forecast 61 days from an origin a week over {warm_up} days, and learnt whom to trust.
  Its members were fitted anew on the way; the language model is not among them.
- *language, 128 days* and *365 days*: each day is three digits on a grid with head-room.
  The model reads exactly so many days: in one text, as nothing is carried over from an earlier forecast.
- *language, json* and *language, role*: the study's two instructions, decoded under a grammar.
  So exactly 61 entries with the right dates come out, and only the digits of the values are the model's.
- *tuned*: a LoRA adapter from the days before the test alone, each half-hour of the day as a tag of its own with a value a day.
  The newest fifth of those days judged it, as in `givre train`; *refused* means that the service would not have used it.
  Its texts were of 96 days: 34 months hold no longer ones to learn, to tune and to judge by.
  At 128 and 365 days it reads more at once than it was judged on, where the service would not use it.
  At 365 days it is indeed worse than the model as it came.
  *as the study advises*: rank 32 on two kinds of layers, four passes, a lower rate; else Givre's settings ([train.md](train.md)).
- *reference*: what other implementations of the same kind of method had on the same test before.
  For the language model it is the digit style with 120 days.
"""


def study_page(
    asked: Sequence[Entry],
    figures: Sequence[Figures],
    missing: Sequence[str],
    tuned: Sequence[str],
    *,
    day_ahead: float,
    warm_up: int,
) -> str:
    """The page; `asked` and `figures` in one order, a sentence per forecaster in `missing` and per adapter in `tuned`."""
    order = sorted(range(len(figures)), key=lambda i: figures[i].plain.error.mean)
    best = [figures[i] for i in order]
    return PAGE.format(
        machine=machine(),
        day=f"{datetime.now(UTC):%Y-%m-%d}",
        verdicts="\n".join(_verdicts([asked[i] for i in order], best)),
        day_ahead=day_ahead,
        tuned="".join(f"- {line}.\n" for line in tuned),
        missing="".join(f"- Not in the tables: {line}.\n" for line in missing),
        study=_markdown(best, STUDY, truth=best[0].plain.measured),
        normalised=_markdown(best, NORMALISED, truth=best[0].normalised.measured),
        field=_markdown(best, FIELD),
        warm_up=warm_up,
    )


def _verdicts(asked: Sequence[Entry], figures: Sequence[Figures]) -> list[str]:
    """What the figures say, worst news included, the best forecaster first."""
    percent = {entry.label: one.plain.error_percent for entry, one in zip(asked, figures, strict=True)}
    lines = [f"- Best: {asked[0].label}, with a mean absolute error of {percent[asked[0].label]:.2f} % of the mean."]
    plain = [entry for entry in asked if not entry.language and entry.name != "panel"]
    for entry in asked:
        if entry.language:
            beaten = [other.label for other in plain if percent[entry.label] < percent[other.label]]
            lost = [other.label for other in plain if percent[entry.label] >= percent[other.label]]
            hope = next((other for other in plain if other.name == "smoothing"), None)
            word = ""
            if hope is not None:
                kept = percent[entry.label] < percent[hope.label]
                word = "as the study hoped, " if kept else "**worse than the study's hope**, "
            lines.append(
                f"- {entry.label}: {percent[entry.label]:.2f} %, {word}better than {', '.join(beaten) or 'none'}; "
                f"not better than {', '.join(lost) or 'none'}."
            )
    for entry in asked:
        if entry.reference is not None:
            found = percent[entry.label]
            word = "at most" if found <= entry.reference + 0.05 else "**worse than**"
            lines.append(f"- {entry.label}: {found:.2f} %, {word} the reference of {entry.reference} %.")
    return lines


def _markdown(figures: Sequence[Figures], columns: Sequence[Column], *, truth: Summary | None = None) -> str:
    lines = [f"| forecaster | {' | '.join(column.name for column in columns)} |", "|---|" + "--:|" * len(columns)]
    if truth is not None:
        known = [words(value) for value in (truth.mean, truth.median, truth.standard_deviation, truth.variance)]
        lines.append(f"| *measured* | {' | '.join([*known, *[''] * (len(columns) - len(known))])} |")
    lines += [f"| {one.forecaster} | {' | '.join(words(column.of(one)) for column in columns)} |" for one in figures]
    return "\n".join(lines)
