"""How would each forecaster have done on this history? What is asked, where the origins are, and what came of it.

Everything that is decided here without being asked (period, origins, how often learners are fitted anew) is said in the report.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from detectors.evaluation.backtest import Plan, backtest
from detectors.evaluation.figures import evaluate, season_of
from detectors.evaluation.grid import span_words
from detectors.evaluation.report import Result
from detectors.language.error import ModelError
from stream.meter import ProcessMeter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detectors.evaluation.backtest import Run, Series
    from stream.model.roster import Roster
    from stream.recording import Recording

__all__ = ["EvaluationError", "Outcome", "Question", "run_evaluation"]

MOST_ORIGINS = 200
"""Origins per tag where no stride is given."""
PANEL_ORIGINS = 100
"""Origins over which a panel is warmed up where nothing is said: without any it would trust all its members alike."""
CONTEXT = 1024
"""Values handed over with each call but the first; a learner keeps its own memory."""


class EvaluationError(Exception):
    """A question that this history cannot answer: subject, what was expected, what was found, what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of a history.

    `held_out` is a share of each tag's steps or the moment (aware) at which the held-out part begins. `horizon` 0 is 12 steps,
    or in one shot all of the held-out part; `stride` 0 spreads at most 200 origins over it; `refit_every` None fits
    learners anew when they are due; `warm_up` None warms up a panel alone.
    """

    forecasters: tuple[str, ...]
    held_out: float | datetime = 0.2
    horizon: int = 0
    stride: int = 0
    one_shot: bool = False
    warm_up: int | None = None
    refit_every: int | None = None
    period_s: float | None = None
    hold_s: float | None = None

    def plan(self, series: Series) -> Plan:
        """Where the origins are in a series; raises EvaluationError where there is no room for one."""
        length = len(series.values)
        if isinstance(self.held_out, datetime):
            first = math.ceil((self.held_out - series.start_at).total_seconds() / series.period_s)
            where = f"held-out part from {self.held_out.astimezone(UTC):%Y-%m-%d %H:%M UTC}"
        else:
            first = length - max(round(self.held_out * length), 1)
            where = f"held-out part of {self.held_out:.0%}"
        rest = length - first
        if not 2 <= first < length:
            raise EvaluationError(
                f"{series.tag}: {where}: expected at least 2 steps before it and 1 in it, found a history of {length} steps "
                f"from {series.at(0):%Y-%m-%d %H:%M} to {series.at(length - 1):%Y-%m-%d %H:%M UTC}. "
                "Choose another --held-out, or a longer history"
            )
        horizon = self.horizon or (rest if self.one_shot else min(12, rest))
        if horizon > rest:
            raise EvaluationError(
                f"{series.tag}: horizon: expected at most the {rest} steps of the {where}, found {horizon}. "
                "Choose a shorter --horizon, or hold out more"
            )
        stride = self.stride or math.ceil((rest - horizon + 1) / MOST_ORIGINS)
        return Plan(
            horizon=horizon,
            first=first,
            stride=stride,
            one_shot=self.one_shot,
            warm_up=self.warm_up or 0,
            refit_every=self.refit_every,
            context=0 if self.one_shot else CONTEXT,
        )

    def plan_of(self, name: str, plan: Plan) -> Plan:
        """The plan of one forecaster: the same origins for all, and a warm-up for a panel where none was asked for."""
        if name != "panel" or self.warm_up is not None:
            return plan
        stride = 7 if plan.one_shot and plan.horizon > 7 else plan.stride
        return replace(plan, stride=stride, warm_up=min(PANEL_ORIGINS * stride, plan.first // 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an evaluation: per tag, in sentences what is not in it, and what was asked."""

    results: list[Result]
    left_out: list[str]
    facts: list[tuple[str, str]]


def run_evaluation(
    recording: Recording, question: Question, roster: Roster, *, progress: Callable[[str, float], None]
) -> Outcome:
    """Every forecaster over every tag. Raises EvaluationError, and RosterError for a forecaster that cannot be had."""
    asked, left_out = _plans(recording, question)
    for name in question.forecasters:
        roster.make(name)  # a name that is wrong is told before anything runs
    results: list[Result] = []
    done, total = 0, len(asked) * len(question.forecasters)
    for group, plan in asked:
        runs: dict[str, list[Run]] = {series.tag: [] for series in group}
        for name in question.forecasters:

            def show(share: float, *, before: int = done, what: str = name) -> None:
                progress(what, (before + share) / total)

            try:
                own = question.plan_of(name, plan)
                for run in backtest(group, roster.make(name), own, meter=ProcessMeter(), progress=show):
                    runs[run.series.tag].append(run)
            except ModelError as error:
                left_out.append(f"{name}, on {', '.join(runs)}: {error}.")
            except Exception as error:  # noqa: BLE001 - one that fails on a history, in whatever way, must not cost the others
                left_out.append(f"{name}, on {', '.join(runs)}: it failed with {type(error).__name__}: {error!s:.200}.")
            done += 1
        results.extend(_result(series, runs[series.tag], plan, recording.told) for series in group if runs[series.tag])
    if not results:
        raise EvaluationError(" ".join(left_out).rstrip("."))
    return Outcome(results=results, left_out=left_out, facts=_facts(asked, question))


def _plans(recording: Recording, question: Question) -> tuple[list[tuple[list[Series], Plan]], list[str]]:
    """The tags that can be evaluated, those on one grid together, and a sentence per tag that cannot."""
    groups, left_out = recording.lay(period_s=question.period_s, hold_s=question.hold_s)
    asked = []
    for group in groups:
        try:
            asked.append((group, question.plan(group[0])))
        except EvaluationError as error:
            left_out.append(f"{error}.")
    if not asked:
        raise EvaluationError(" ".join(left_out).rstrip("."))
    return asked, left_out


def _result(series: Series, runs: Sequence[Run], plan: Plan, told: Sequence[str]) -> Result:
    season = season_of(series, plan.first)
    treatments = [*told, *series.treatments]
    if season == 1:
        treatments.append(
            f"The {plan.first} steps before the held-out part hold no season twice (a day, a week): MASE is scaled by the change "
            "from one step to the next, and seasonal forecasters cannot know of one."
        )
    return Result(tag=series.tag, runs=runs, figures=[evaluate(run) for run in runs], treatments=treatments)


def _facts(asked: Sequence[tuple[Sequence[Series], Plan]], question: Question) -> list[tuple[str, str]]:
    facts = []
    for group, plan in asked:
        series = group[0]
        length = len(series.values)
        origins = plan.origins(length)
        facts += [
            ("tags", ", ".join(one.tag for one in group)),
            (
                "history",
                f"{length:,} steps of {span_words(series.period_s)}, {_moment(series, 0)} to {_moment(series, length - 1)}",
            ),
            ("held out", f"{length - plan.first:,} steps from {_moment(series, plan.first)}"),
            (
                "asked",
                f"{plan.horizon} steps ahead, from {_many(len(origins), 'origin')}"
                + ("" if plan.one_shot else f", one every {_many(plan.stride, 'step')}")
                + (f", after {_many(plan.warm_up, 'step')} of warming up that are not scored" if plan.warm_up else ""),
            ),
            (
                "learners",
                f"fitted to all that came before the first forecast{_refits(plan)}",
            ),
            *_panel_facts(question, plan),
            ("log score cell", "a thousandth of the range of the history before the held-out part"),
        ]
    return facts


def _panel_facts(question: Question, plan: Plan) -> list[tuple[str, str]]:
    own = question.plan_of("panel", plan)
    if "panel" not in question.forecasters or own.warm_up == plan.warm_up:
        return []
    origins = _many(len(own.warm_origins()), "origin")
    return [("panel", f"judged its members before the held-out part, from {origins} that are not scored")]


def _refits(plan: Plan) -> str:
    if plan.refit_every is None:
        return ", and anew when they are due"
    return f", and anew every {_many(plan.refit_every, 'origin')}" if plan.refit_every else ""


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _moment(series: Series, step: int) -> str:
    return f"{series.at(step):%Y-%m-%d %H:%M UTC}"
