"""The model lane against models that lie, fail, hang and die, each in a real process."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import time
import zlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from detectors.asset_baseline import AssetBaseline
from detectors.forecasters.in_turn import InTurn
from detectors.forecasters.panel import Panel
from detectors.reason.explainer import Explainer
from detectors.records import LEVELS, AlarmState, Alert, Explanation, Forecast, Priority, Score, Status, Verdict, Window
from stream.clock import SystemClock
from stream.model.modelling import ModelLane
from stream.model.process import Forecasting
from stream.model.schedule import Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

T0 = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW = Window(tag="hx/t", period_s=10, end_at=T0, values=(1.0, 2.0, 3.0))
HORIZON = 3


def honest(name: str, window: Window, horizon: int) -> Forecast:
    rows = tuple(tuple(float(i) for i in range(len(LEVELS))) for _ in range(horizon))
    return Forecast(tag=window.tag, forecaster=name, made_at=window.end_at, period_s=window.period_s, quantiles=rows)


@dataclass
class Fake:
    """A forecaster whose behaviour follows the first value of the window: 0 and above is honest."""

    name: str = "model"
    lies: bool = True

    def forecast(self, windows: Sequence[Window], *, horizon: int) -> list[Forecast]:
        out = []
        for window in windows:
            made = honest(self.name, window, horizon)
            rows = made.quantiles
            match window.values[0] if self.lies else 0:
                case -1:
                    raise RuntimeError("CUDA error: an illegal memory access was encountered")
                case -2:
                    os.kill(os.getpid(), signal.SIGKILL)
                case -3:
                    time.sleep(60)
                case -4:
                    made = replace(made, quantiles=rows[:-1])
                case -5:
                    made = replace(made, quantiles=(*rows[:-1], (float("nan"), *rows[-1][1:])))
                case -6:
                    made = replace(made, quantiles=(*rows[:-1], tuple(reversed(rows[-1]))))
                case -7:
                    made = replace(made, tag="hx/other")
                case _:
                    pass
            out.append(made)
        return out


@dataclass
class FakeScorer(Fake):
    """Scores each window by its first value: what it says is the PIT, and the log score is sound for honest ones."""

    refused: tuple[str, ...] = ()
    shortfall: str = ""

    def read(self, windows: Sequence[Window]) -> list[list[Score]]:
        out = []
        for window in windows:
            pit = window.values[0] - 10 if window.values[0] >= 10 else 0.25
            at = window.end_at + timedelta(days=1) if window.values[0] == 9 else window.end_at
            log_score = math.nan if window.values[0] == 8 else -1.0
            tag = "hx/other" if window.values[0] == 7 else window.tag
            fields = {"value": 1.0, "log_score": log_score, "log_probability": -4.0}
            out.append([Score(tag=tag, forecaster=self.name, at=at, pit=pit, **fields)])
        return out

    def forecast(self, windows: Sequence[Window], *, horizon: int) -> list[Forecast]:
        return super().forecast([w for w in windows if w.tag not in self.refused], horizon=horizon)


@dataclass
class Pupil(Fake):
    """Learns nothing but that it was fitted: from then on it expects a hundred more."""

    name: str = "pupil"
    lies: bool = False
    fitted: bool = False
    due: tuple[str, ...] = (WINDOW.tag,)

    def learn(self, windows: Sequence[Window]) -> None:
        pass

    def refit(self, tag: str) -> None:
        self.fitted, self.due = True, ()

    def save(self) -> bytes:
        return b"yes" if self.fitted else b"no"

    def restore(self, saved: bytes) -> None:
        self.fitted = saved == b"yes"
        self.due = () if self.fitted else self.due

    def forecast(self, windows: Sequence[Window], *, horizon: int) -> list[Forecast]:
        made = super().forecast(windows, horizon=horizon)
        if not self.fitted:
            return made
        return [replace(one, quantiles=tuple(tuple(x + 100 for x in row) for row in one.quantiles)) for one in made]


def with_model(model: Fake) -> Forecasting:
    """A panel of a language model and one that is honest."""
    speaker = InTurn(model)
    panel = Panel([speaker, Fake("other", lies=False)])
    reader = model if isinstance(model, FakeScorer) else None
    return Forecasting(panel=panel, speaker=speaker, reader=reader, description="fakes")


def with_pupil(state: Path | None = None, *, patient: bool = False) -> Forecasting:
    return Forecasting(panel=Panel([Pupil()]), state=state, patient=patient, description="a pupil")


def refuse() -> Forecasting:
    raise ValueError("model folder '/no/where': expected config.json, found nothing")


@dataclass
class Bench:
    lane: ModelLane
    said: list[Status] = field(default_factory=list)

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not true():
                await asyncio.sleep(0.02)

    async def ask(self, first: float = 1.0) -> Forecast:
        window = replace(WINDOW, values=(first, 2.0, 3.0))
        (made,) = (await self.lane.ask(Turn((window,), (window,), (window,)))).forecasts
        return made


@pytest.fixture
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    build = getattr(request, "param", partial(with_model, Fake()))
    said: list[Status] = []
    lane = ModelLane(
        build,
        fallback=Fake("fallback", lies=False),
        horizon=HORIZON,
        report=said.append,
        clock=SystemClock(),
        answer_timeout_s=1.0,
        backoff_s=(0.1, 1.0),
    )
    task = asyncio.create_task(lane.run())
    yield Bench(lane, said)
    task.cancel()
    await asyncio.wait([task])


async def test_until_the_model_is_up_the_fallback_forecasts_under_its_own_name(bench: Bench) -> None:
    assert (await bench.ask()).forecaster == "fallback"
    await bench.until(lambda: bench.lane.up)
    assert (await bench.ask()).forecaster == "panel"
    turn = Turn((WINDOW,), (WINDOW,), (WINDOW,))
    assert [one.forecaster for one in (await bench.lane.ask(turn)).opinions] == ["model"]
    assert (await bench.lane.ask(Turn((WINDOW,)))).opinions == (), "it was not its turn"


@pytest.mark.parametrize("lie", [-4, -5, -6, -7], ids=["too short", "nan", "quantiles cross", "another tag"])
async def test_an_answer_that_is_not_whole_is_refused_within_the_same_call(bench: Bench, lie: float) -> None:
    await bench.until(lambda: bench.lane.up)
    assert (await bench.ask(lie)).forecaster == "fallback"
    assert not bench.said[-1].ok
    assert "forecasts by fallback" in bench.said[-1].detail
    assert (await bench.ask()).forecaster == "panel"


async def test_a_failing_model_costs_its_own_part_of_a_turn_and_three_in_a_row_a_restart(bench: Bench) -> None:
    await bench.until(lambda: bench.lane.up)
    first = bench.lane.pid
    assert (await bench.ask(-1)).forecaster == "panel"
    assert (bench.said[-1].ok, "CUDA error" in bench.said[-1].detail) == (False, True)
    assert bench.said[-1].detail.endswith("the other forecasters go on")
    assert (await bench.ask()).forecaster == "panel"
    assert (bench.said[-1].ok, bench.said[-1].detail) == (True, "fakes")
    for _ in range(3):
        assert (await bench.ask(-1)).forecaster == "panel"
    await bench.until(lambda: bench.lane.up and bench.lane.pid != first)
    assert (await bench.ask()).forecaster == "panel"


async def test_where_memory_is_short_the_kernel_ends_the_model_first(bench: Bench) -> None:
    await bench.until(lambda: bench.lane.up)
    scores = [Path(f"/proc/{pid}/oom_score_adj").read_text() for pid in (bench.lane.pid, "self")]
    theirs, ours = map(int, scores)
    assert theirs > ours


@pytest.mark.parametrize("fault", [-2, -3], ids=["killed", "hangs"])
async def test_a_dead_or_hanging_process_is_replaced_and_the_call_is_answered(bench: Bench, fault: float) -> None:
    await bench.until(lambda: bench.lane.up)
    first = bench.lane.pid
    assert (await bench.ask(fault)).forecaster == "fallback"
    assert not bench.said[-1].ok
    await bench.until(lambda: bench.lane.up and bench.lane.pid != first)
    assert (await bench.ask()).forecaster == "panel"
    assert bench.said[-1].ok


@pytest.mark.parametrize("bench", [refuse], indirect=True)
async def test_a_model_that_cannot_be_loaded_is_said_with_its_reason_and_tried_again(bench: Bench) -> None:
    await bench.until(lambda: bench.lane.restarts >= 1)
    assert "expected config.json, found nothing; forecasts by fallback" in bench.said[0].detail
    assert (await bench.ask()).forecaster == "fallback"


@pytest.mark.parametrize("bench", [partial(with_model, FakeScorer())], indirect=True)
async def test_scores_come_with_what_they_cost_and_a_lying_one_is_refused(bench: Bench) -> None:
    await bench.until(lambda: bench.lane.up)
    turn = Turn((WINDOW,), (WINDOW,), (WINDOW,))
    answer = await bench.lane.ask(turn)
    assert [(s.tag, s.at, s.pit) for s in answer.scores] == [("hx/t", T0, 0.25)]
    assert (answer.by_model, *answer.spent[3:]) == (True, 1, 1, 1)
    for first, said in (
        (11.5, "a PIT of 1.5"),
        (9.0, "which was not asked"),
        (7.0, "which was not asked"),
        (8.0, "nan"),
    ):
        lying = replace(WINDOW, values=(first, 2.0, 3.0))
        answer = await bench.lane.ask(Turn((lying,), (lying,), (lying,)))
        assert (answer.by_model, answer.scores) == (False, [])
        assert [f.forecaster for f in answer.forecasts] == ["fallback"]
        assert said in bench.said[-1].detail
        await bench.lane.ask(turn)  # one honest answer between: three failures in a row would be a restart


@pytest.mark.parametrize(
    "bench",
    [partial(with_model, FakeScorer(refused=("hx/b",), shortfall="memory on cuda: too little"))],
    indirect=True,
)
async def test_tags_without_room_are_forecast_by_the_others_and_the_shortfall_is_said(bench: Bench) -> None:
    await bench.until(lambda: bench.lane.up)
    windows = (WINDOW, replace(WINDOW, tag="hx/b"), replace(WINDOW, tag="hx/c"))
    answer = await bench.lane.ask(Turn(windows, windows[:2], windows[:2]))
    assert {f.tag: f.forecaster for f in answer.forecasts} == dict.fromkeys(("hx/t", "hx/b", "hx/c"), "panel")
    assert [f.tag for f in answer.opinions] == ["hx/t"]
    assert answer.refused == ("hx/b",)
    assert (bench.said[-1].subject, bench.said[-1].ok) == ("model.memory", False)
    assert bench.said[-1].detail == "memory on cuda: too little"


@dataclass
class Clumsy(Fake):
    """Fails at one window."""

    def forecast(self, windows: Sequence[Window], *, horizon: int) -> list[Forecast]:
        if any(window.values[0] == 5 for window in windows):
            raise ArithmeticError("no convergence")
        return super().forecast(windows, horizon=horizon)


@pytest.mark.parametrize(
    "bench", [partial(Forecasting, panel=Panel([Clumsy("clumsy"), Fake("other", lies=False)]))], indirect=True
)
async def test_a_member_of_the_panel_that_fails_is_named_as_long_as_it_does(bench: Bench) -> None:
    await bench.until(lambda: bench.lane.up)
    assert (await bench.ask(5)).forecaster == "panel"
    assert (bench.said[-1].subject, bench.said[-1].ok) == ("model.panel", False)
    assert bench.said[-1].detail == "clumsy is left out, forecast: ArithmeticError: no convergence"
    said = len(bench.said)
    await bench.ask(5)
    assert len(bench.said) == said
    await bench.ask()
    assert (bench.said[-1].subject, bench.said[-1].ok) == ("model.panel", True)


@pytest.mark.parametrize("bench", [with_pupil], indirect=True)
async def test_members_are_fitted_beside_the_turns(bench: Bench) -> None:
    await bench.until(lambda: bench.lane.up)
    async with asyncio.timeout(10):
        while (await bench.ask()).quantiles[0][0] < 90:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("bench", [partial(with_pupil, patient=True)], indirect=True)
async def test_where_there_is_time_the_fit_comes_before_the_forecast(bench: Bench) -> None:
    await bench.until(lambda: bench.lane.up)
    assert (await bench.ask()).quantiles[0][0] > 90


async def test_what_was_learnt_is_kept_over_a_clean_stop_and_damage_to_it_is_said(tmp_path: Path) -> None:
    state, said = tmp_path, []

    async def run(turns: int, before: int = 0) -> tuple[Forecast, int]:
        lane = ModelLane(
            partial(with_pupil, state, patient=True), fallback=Fake("fallback", lies=False), horizon=HORIZON,
            report=said.append, clock=SystemClock(),
        )  # fmt: skip
        task = asyncio.create_task(lane.run())
        bench = Bench(lane)
        await bench.until(lambda: lane.up)
        steps = 0
        for i in range(before, before + turns):
            window = replace(WINDOW, end_at=T0 + timedelta(seconds=10 * i))
            answer = await lane.ask(Turn((window,)))
            steps = max([steps, *(one.steps for one in answer.standings)])
        task.cancel()
        await asyncio.wait([task])
        return answer.forecasts[0], steps

    await run(20)
    saved = state / "panel.state"
    assert [path.name for path in state.iterdir()] == ["panel.state"]
    made, steps = await run(1, before=20)
    assert steps == 20, "the panel goes on counting where it was"
    assert made.quantiles[0][3] > 90, "and so do its members"
    saved.write_bytes(saved.read_bytes()[:-20])
    _, steps = await run(1, before=21)
    assert steps == 0
    assert (said[-1].ok, "it begins anew" in said[-1].detail) == (True, True)


@pytest.mark.parametrize("bench", [None], indirect=True)
async def test_without_a_model_the_fallback_is_all_there_is(bench: Bench) -> None:
    assert (await bench.ask()).forecaster == "fallback"
    assert bench.said[0].ok


def with_baseline(state: Path | None = None) -> Forecasting:
    judge = AssetBaseline(name="asset/hx", tags=[WINDOW.tag], period_s=10.0, learn_steps=80, rules=["shift"])
    return Forecasting(panel=Panel([Fake("other", lies=False)]), learners=(judge,), state=state, description="one")


async def test_a_baseline_is_learnt_beside_the_turns_judges_the_steps_and_is_kept(tmp_path: Path) -> None:
    def lane() -> ModelLane:
        return ModelLane(
            partial(with_baseline, tmp_path), fallback=Fake("fallback", lies=False), horizon=HORIZON,
            report=lambda _: None, clock=SystemClock(),
        )  # fmt: skip

    def turn(i: int, moved: float = 0.0, since: int = 0) -> Turn:
        values = tuple(5 + math.sin(2.1 * j) + (moved if j > since else 0) for j in range(max(i - 30, 0), i + 1))
        return Turn((replace(WINDOW, period_s=10.0, end_at=T0 + timedelta(seconds=10 * i), values=values),))

    subject = lane()
    task = asyncio.create_task(subject.run())
    await Bench(subject).until(lambda: subject.up)
    for i in range(100):
        await subject.ask(turn(i))
    i = 100
    while not (answer := await subject.ask(turn(i))).verdicts:
        i += 1
        await asyncio.sleep(0.02)
    assert [(v.tag, v.rule, v.score < 1) for v in answer.verdicts] == [(WINDOW.tag, "shift", True)]
    task.cancel()
    await asyncio.wait([task])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"learnt-asset-hx-{zlib.crc32(b'asset/hx'):08x}.state",
        "panel.state",
    ]

    subject = lane()
    task = asyncio.create_task(subject.run())
    await Bench(subject).until(lambda: subject.up)
    while not (answer := await subject.ask(turn(i))).verdicts:
        i += 1
        await asyncio.sleep(0.02)
    for j in range(i + 1, i + 12):
        answer = await subject.ask(turn(j, 9.0, since=i))
    (verdict,) = answer.verdicts
    assert verdict.score > 1
    task.cancel()
    await asyncio.wait([task])


class SlowWriter:
    """Writes a word every few milliseconds, for a minute; the first words are a whole, true text."""

    def write(self, role: str, ask: str) -> Iterator[str]:
        words = ["It", "shows", "9", "where", "8", "is", "what", "was", "allowed", "of", "it."]
        for i in range(len(words)):
            time.sleep(0.005)
            yield " ".join(words[: i + 1])


def with_explainer() -> Forecasting:
    explainer = Explainer(SlowWriter(), "en", clock=time.perf_counter)
    return Forecasting(panel=Panel([Fake("other", lies=False)]), explainer=explainer, description="one that explains")


def raised(sequence: int, state: AlarmState = AlarmState.UNACKNOWLEDGED) -> Alert:
    verdict = Verdict(tag="hx/t", rule="high", at=T0, score=2.0, value=9.0, high=8.0)
    return Alert(
        tag="hx/t", rule="high", sequence=sequence, state=state, previous=AlarmState.NORMAL, at=T0, since=T0,
        priority=Priority.LOW, text="t of hx is 9, above its high limit of 8.", verdict=verdict,
    )  # fmt: skip


@pytest.mark.parametrize("bench", [with_explainer], indirect=True)
async def test_new_alerts_are_explained_between_the_turns_which_do_not_wait(bench: Bench) -> None:
    await bench.until(lambda: bench.lane.up)
    bench.lane.note([raised(1), raised(2, AlarmState.ACKNOWLEDGED), raised(3, AlarmState.RETURNED_UNACKNOWLEDGED)])
    bench.lane.note([raised(i) for i in range(4, 8)])
    found: list[Explanation] = []
    longest_s = 0.0
    async with asyncio.timeout(15):
        while len(found) < 6:
            asked = time.perf_counter()
            answer = await bench.lane.ask(Turn((WINDOW,)))
            longest_s = max(longest_s, time.perf_counter() - asked)
            assert [one.forecaster for one in answer.forecasts] == ["panel"]
            found += answer.explanations
            await asyncio.sleep(0.03)
    assert [one.sequence for one in found] == [1, 2, 4, 5, 6, 7]
    assert all(one.by_model and one.text.startswith("It shows 9 where 8") for one in found)
    assert longest_s < 0.5


def changing(folder: Path) -> Forecasting:
    """One that is outdated once there is a file `other` beside it, and is described by what was there when it was built."""
    found = (folder / "other").exists()
    if (folder / "broken").exists():
        raise ValueError("adapter: expected another base model")
    return Forecasting(
        panel=Panel([Fake("other", lies=False)]),
        state=folder,
        description="second" if found else "first",
        outdated=lambda: (folder / "other").exists() != found,
    )


@pytest.mark.parametrize("broken", [False, True])
async def test_another_adapter_is_taken_between_two_turns_and_one_that_cannot_be_is_not(
    tmp_path: Path, broken: bool
) -> None:
    said: list[Status] = []
    lane = ModelLane(
        partial(changing, tmp_path), fallback=Fake("fallback", lies=False), horizon=HORIZON, report=said.append,
        clock=SystemClock(),
    )  # fmt: skip
    task = asyncio.create_task(lane.run())
    bench = Bench(lane)
    await bench.until(lambda: lane.up)
    pid = lane.pid
    assert (await bench.ask()).forecaster == "panel"
    if broken:
        (tmp_path / "broken").touch()
    (tmp_path / "other").touch()
    for i in range(3):
        window = replace(WINDOW, end_at=T0 + timedelta(seconds=10 * i))
        answer = await lane.ask(Turn((window,)))
        assert answer.by_model
    assert lane.pid == pid
    details = [(status.subject, status.ok, status.detail) for status in said]
    if broken:
        assert details[-1][:2] == ("model.panel", False)
        assert "adapter is left out, it cannot be built anew" in details[-1][2]
    else:
        assert details[-1] == ("model", True, "second")
    task.cancel()
    await asyncio.wait([task])
