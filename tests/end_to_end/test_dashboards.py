"""Every question of the dashboard, asked of a real InfluxDB 1 that holds half an hour of a plant's points.

The points are those that the sink writes. Grafana's own part, putting the chosen values into a query, is done by `substituted`.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from detectors.records import AlarmState, Alert, Forecast, Priority, Quality, Sample, Standing, Status, Verdict
from stream.sinks.point import lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from detectors.records import Record

BOARD = json.loads((Path(__file__).parents[2] / "deploy/grafana/dashboard.json").read_text())
SETUP = Path(__file__).parents[2] / "deploy/influxdb/setup-v1.sh"
SITE, ASSET, TAGS = "demo", "exchanger", ("chilled_water", "flow", "power.1")
STEP_S, STEPS = 10, 180
LEADS = (1, 2, 3, 6, 12)
FORECASTS_ENDED = 7
"""So many steps before the newest one, for one of the tags."""
QUESTIONS = {
    f"{panel['title']} ({target['refId']})": target["query"]
    for panel in BOARD["panels"]
    if panel["type"] != "row"
    for target in panel["targets"]
}
MARKS = {mark["name"]: mark["target"]["query"] for mark in BOARD["annotations"]["list"]}
CHOICES = {choice["name"]: choice["query"] for choice in BOARD["templating"]["list"]}


class Influx(NamedTuple):
    """A running server, and the moment of the newest closed step (Unix seconds) in it."""

    url: str
    newest: int

    def ask(self, text: str) -> list[dict[str, Any]]:
        """The series that answer, each row as a dictionary; a refused statement fails the test."""
        data = urllib.parse.urlencode({"db": "givre", "q": text, "epoch": "ms"}).encode()
        try:
            with urllib.request.urlopen(f"{self.url}/query", data, timeout=10) as answer:
                [result] = json.load(answer)["results"]
        except urllib.error.HTTPError as error:
            pytest.fail(f"{error.code}: {error.read().decode()}\n{text}")
        assert "error" not in result, f"{result}\n{text}"
        return [
            {**series.get("tags", {}), **dict(zip(series["columns"], row, strict=True))}
            for series in result.get("series", [])
            for row in series["values"]
        ]


def substituted(text: str, tags: tuple[str, ...] = TAGS, interval: str = "2s") -> str:
    """What Grafana sends for a query, with these tags chosen and its time range from now-30m to now+5m."""
    now_ms = int(time.time() * 1000)
    one = re.escape(tags[0])
    values = {
        "${site:raw}": SITE,
        "${asset:raw}": ASSET,
        "${tag:regex}": one if len(tags) == 1 else "(" + "|".join(re.escape(tag) for tag in tags) + ")",
        "$timeFilter": f"time >= {now_ms - 30 * 60_000}ms and time <= {now_ms + 5 * 60_000}ms",
        "$__interval": interval,
    }
    for name, value in values.items():
        text = text.replace(name, value)
    assert "$" not in text.replace("$/", ""), f"not substituted: {text}"
    return text


def records(newest: int) -> Iterator[Record]:
    """Half an hour of a plant: samples, forecasts with a future, verdicts, alarms, statuses."""
    dice = random.Random(7)

    def moment(seconds: float) -> datetime:
        return datetime.fromtimestamp(newest + seconds, UTC)

    for name in TAGS:
        tag = f"{ASSET}/{name}"
        for k in range(-STEPS, 1):
            at = moment(k * STEP_S)
            value = 5 + 0.1 * math.sin(k / 9) + dice.gauss(0, 0.02)
            if name == "flow" and -20 < k < -15:
                bad = {"value": None, "quality": Quality.BAD, "reason": "BadSensorFailure"}
                yield Sample(tag=tag, source_at=at, arrived_at=at, **bad)
            else:
                yield Sample(tag=tag, value=value, source_at=at, arrived_at=at)
            yield Verdict(tag=tag, rule="tolerance", at=at, score=abs(value - 5) / 0.2, value=value, low=4.8, high=5.2)
            lead_s = 30.0 + k % 90 if k % 3 else None
            yield Verdict(tag=tag, rule="breach", at=at, score=0.5, probability=(k % 10) / 10, lead_s=lead_s)
            if name == "flow" and k > -FORECASTS_ENDED:
                continue
            # The median says when the forecast was made, so that a test can tell which one it is looking at.
            row = tuple(1000 + k + 0.1 * z for z in (-2, -1.5, -0.8, 0, 0.8, 1.5, 2))
            who = "persistence" if k < -150 else "panel"
            yield Forecast(tag=tag, forecaster=who, made_at=at, period_s=STEP_S, quantiles=(row,) * LEADS[-1])
            if k % 6 == 0:
                # The language model's own, which the charts of the signals must not show; and whom the panel believes.
                own = tuple(-x for x in reversed(row))
                yield Forecast(
                    tag=tag, forecaster="language", made_at=at, period_s=STEP_S, quantiles=(own,) * LEADS[-1]
                )
                weights = (("smoothing", 0.75), ("language", 0.25))
                yield Standing(
                    tag=tag, at=at, lead=1, lead_s=STEP_S, steps=k + STEPS, weights=weights,
                    coverage80=0.81, coverage90=0.9, skill=0.1 + k / 1e4,
                )  # fmt: skip
    alerts = [
        ("tolerance", "unacknowledged", 1),
        ("tolerance", "acknowledged", 2),
        ("breach", "unacknowledged", 1),
        ("deviation", "unacknowledged", 1),
        ("deviation", "returned_unacknowledged", 2),
        ("stale", "unacknowledged", 1),
        ("stale", "acknowledged", 2),
        ("stale", "normal", 3),
    ]
    for k, (rule, state, sequence) in enumerate(alerts):
        yield _alert(f"{ASSET}/chilled_water", rule, sequence, AlarmState(state), moment(k - 600))
    yield Status(subject="source.plc", ok=True, detail="connected", at=moment(-1500))
    yield Status(subject="model", ok=True, detail="loaded", at=moment(-1400))
    yield Status(subject="model", ok=False, detail="killed for memory", at=moment(-30))
    yield Status(subject="sink.store", ok=True, detail="writing", at=moment(-1300))
    at = moment(0)
    yield Sample(tag=f"{ASSET}/outflow", value=5.0, source_at=at, arrived_at=at)
    # Another asset in the same database: nothing of it may show.
    yield Sample(tag="boiler/flow", value=-777.0, source_at=at, arrived_at=at)
    yield _alert("boiler/flow", "stale", 1, AlarmState.UNACKNOWLEDGED, at)


def elsewhere(newest: int) -> Iterator[Record]:
    """Another site in the same database: nothing of it may show either."""
    at = datetime.fromtimestamp(newest, UTC)
    yield Sample(tag=f"{ASSET}/flow", value=-777.0, source_at=at, arrived_at=at)
    yield _alert(f"{ASSET}/flow", "stale", 1, AlarmState.UNACKNOWLEDGED, at)
    yield Status(subject="model", ok=False, detail="away", at=at)


def _alert(tag: str, rule: str, sequence: int, state: AlarmState, at: datetime) -> Alert:
    return Alert(
        tag=tag,
        rule=rule,
        sequence=sequence,
        state=state,
        previous=AlarmState.NORMAL,
        at=at,
        since=at,
        priority=Priority.HIGH,
        text=f'{rule}: "5.3" is outside 4.8 to 5.2',
        verdict=Verdict(tag=tag, rule=rule, at=at, score=1.2) if rule != "stale" else None,
    )


@contextmanager
def running(server: Any, *, logins: bool = False) -> Iterator[str]:
    """Such a server, started; its URL."""
    try:
        server.start(logins=logins)
        yield server.url
    finally:
        server.kill()


def set_up(url: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Runs deploy/influxdb/setup-v1.sh."""
    return subprocess.run(
        [str(SETUP)],
        env={"PATH": os.environ["PATH"], "INFLUX_URL": url, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.fixture(scope="module")
def influx(tmp_path_factory: pytest.TempPathFactory, new_influxd: Callable[[Path], Any]) -> Iterator[Influx]:
    with running(new_influxd(tmp_path_factory.mktemp("influx") / "server")) as url:
        done = set_up(url)
        assert done.returncode == 0, done.stderr
        newest = int(time.time()) // STEP_S * STEP_S
        points = [line for record in records(newest) for line in lines(record, SITE)]
        points += [line for record in elsewhere(newest) for line in lines(record, "other")]
        urllib.request.urlopen(f"{url}/write?db=givre&precision=u", "\n".join(points).encode(), timeout=20).close()
        yield Influx(url, newest)


def query(title: str) -> str:
    """The one query of the panels whose title and reference begin so."""
    [found] = [text for name, text in QUESTIONS.items() if name.startswith(title)]
    return found


@pytest.mark.parametrize("tags", [TAGS, TAGS[:1]], ids=["all tags", "one tag"])
@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_of_a_panel_is_answered(influx: Influx, name: str, tags: tuple[str, ...]) -> None:
    assert influx.ask(substituted(QUESTIONS[name], tags)) != []


@pytest.mark.parametrize("name", MARKS)
def test_every_question_for_marks_is_answered_with_the_columns_it_names(influx: Influx, name: str) -> None:
    rows = influx.ask(substituted(MARKS[name]))
    assert rows != []
    [mark] = [m["target"] for m in BOARD["annotations"]["list"] if m["name"] == name]
    for row in rows:
        assert {mark["textColumn"], *mark["tagsColumn"].split(",")} <= set(row)


def test_the_choices_are_what_is_in_the_database(influx: Influx) -> None:
    found = {name: [row["value"] for row in influx.ask(substituted(text))] for name, text in CHOICES.items()}
    assert found == {"site": ["demo", "other"], "asset": ["boiler", "exchanger"], "tag": sorted([*TAGS, "outflow"])}


def test_nothing_of_another_site_or_asset_shows(influx: Influx) -> None:
    for text in QUESTIONS.values():
        for row in influx.ask(substituted(text)):
            assert -777.0 not in row.values()
            assert row.get("subject") != "away"
    assert influx.ask(substituted(query("Active alarms")))[0]["sum"] == 2


def test_a_tag_whose_name_ends_like_anothers_is_not_it(influx: Influx) -> None:
    assert {row["tag"] for row in influx.ask(substituted(query("Reports per minute"), ("flow",)))} == {"flow"}


def test_a_dot_in_a_tags_name_is_a_dot(influx: Influx) -> None:
    rows = influx.ask(substituted(query("Reports per minute"), ("power.1",)))
    assert {row["tag"] for row in rows} == {"power.1"}
    assert influx.ask(substituted(query("Reports per minute"), ("powerX1",))) == []


def test_ahead_is_the_newest_forecast_and_nothing_but_that(influx: Influx) -> None:
    rows = influx.ask(substituted(query("$asset / $tag (ahead)"), TAGS[:1]))
    at = {row["time"] // 1000 - influx.newest: row for row in rows}
    now = time.time() - influx.newest
    assert sorted(at) == [lead * STEP_S for lead in LEADS if lead * STEP_S > now]
    for row in rows:
        assert row["forecast q50"] == pytest.approx(1000), "made at the newest step"
        assert row["forecast q05"] == pytest.approx(1000 - 0.2)
        assert row["forecast q95"] == pytest.approx(1000 + 0.2)


def test_of_a_forecast_that_has_aged_only_what_is_still_to_come_is_ahead(influx: Influx) -> None:
    rows = influx.ask(substituted(query("$asset / $tag (ahead)"), ("flow",)))
    assert [row["time"] // 1000 - influx.newest for row in rows] == [(LEADS[-1] - FORECASTS_ENDED) * STEP_S]


def test_past_is_what_the_step_before_had_said(influx: Influx) -> None:
    rows = influx.ask(substituted(query("$asset / $tag (past)"), TAGS[:1]))
    for row in rows:
        made = round(row["expected q50"] - 1000)
        assert row["time"] // 1000 - influx.newest == (made + 1) * STEP_S
    assert len(rows) >= STEPS - 2


def test_the_limits_reach_to_the_end_of_the_time_range(influx: Influx) -> None:
    rows = influx.ask(substituted(query("$asset / $tag (limits)"), TAGS[:1]))
    assert rows[-1]["time"] / 1000 > time.time() + 280
    assert rows[-1]["low limit"] == 4.8
    assert rows[-1]["setpoint"] == pytest.approx(5.0)
    assert rows[-1]["high limit"] == 5.2


def test_a_bad_report_is_a_gap_in_the_line(influx: Influx) -> None:
    rows = influx.ask(substituted(query("$asset / $tag (value)"), ("flow",)))
    gaps = [b["time"] - a["time"] for a, b in itertools.pairwise(rows) if b["time"] - a["time"] > STEP_S * 1000]
    assert gaps == [5 * STEP_S * 1000], "four reports were Bad"


def test_the_alarms_that_stand_are_all_but_the_normal_one(influx: Influx) -> None:
    rows = influx.ask(substituted(query("Standing alarms")))
    assert {(row["rule"], row["state"]) for row in rows} == {
        ("tolerance", "acknowledged"),
        ("breach", "unacknowledged"),
        ("deviation", "returned_unacknowledged"),
    }
    assert {row["text"] for row in rows if row["rule"] == "breach"} == {'breach: "5.3" is outside 4.8 to 5.2'}
    assert influx.ask(substituted(query("Unacknowledged")))[0]["count"] == 2


def test_the_parts_that_are_not_well_are_counted(influx: Influx) -> None:
    assert influx.ask(substituted(query("Parts of Givre not well")))[0]["sum"] == 1
    parts = {row["subject"]: (row["ok"], row["detail"]) for row in influx.ask(substituted(query("Parts of Givre (")))}
    assert parts == {"source.plc": (1, "connected"), "model": (0, "killed for memory"), "sink.store": (1, "writing")}


def test_each_forecaster_of_the_last_hour_is_named(influx: Influx) -> None:
    rows = influx.ask(substituted(query("Who forecasts")))
    assert {(row["tag"], row["forecaster"]) for row in rows} == {
        (t, f) for t in TAGS for f in ("language", "panel", "persistence")
    }
    assert max(row["made"] for row in rows) == influx.newest * 1000


def test_the_weights_of_the_panel_are_drawn_by_tag_and_forecaster(influx: Influx) -> None:
    rows = influx.ask(substituted(query("Whom the panel believes")))
    last = {row["tag"]: row for row in rows}
    assert set(last) == set(TAGS)
    assert {row["mean_weight_smoothing"] for row in rows} == {0.75}
    assert {row["mean_weight_language"] for row in rows} == {0.25}


def test_a_question_with_a_fault_in_it_would_be_found(influx: Influx) -> None:
    with pytest.raises(pytest.fail.Exception, match="400"):
        influx.ask('SELECT mean("value") FROM "sample" GROUP BYY time(1m)')


# --- deploy/influxdb/setup-v1.sh -----------------------------------------------------------------------------------------


def test_set_up_again_with_another_retention_nothing_is_lost_and_the_retention_changes(influx: Influx) -> None:
    before = influx.ask('SELECT count("value") FROM "sample"')
    assert set_up(influx.url, INFLUX_KEEP="30d").returncode == 0
    kept = {row["name"]: (row["duration"], row["default"]) for row in influx.ask('SHOW RETENTION POLICIES ON "givre"')}
    assert kept["givre"] == ("720h0m0s", True)
    assert influx.ask('SELECT count("value") FROM "sample"') == before


def test_where_logins_are_asked_for_givre_may_write_and_grafana_may_read(
    tmp_path: Path, new_influxd: Callable[[Path], Any]
) -> None:
    with running(new_influxd(tmp_path / "server"), logins=True) as url:
        create = r"""CREATE USER "root" WITH PASSWORD 'it\'s' WITH ALL PRIVILEGES"""
        first = urllib.parse.urlencode({"q": create})
        urllib.request.urlopen(f"{url}/query", first.encode(), timeout=5).close()
        words = {"GIVRE_PASSWORD": "of 'givre' \\", "GRAFANA_PASSWORD": 'of "grafana"'}
        for _ in range(2):
            done = set_up(url, INFLUX_ADMIN="root:it's", **words)
            assert done.returncode == 0, done.stderr
        assert _write(url, "givre", words["GIVRE_PASSWORD"]) == 204
        assert _write(url, "grafana", words["GRAFANA_PASSWORD"]) == 403
        assert _write(url, "givre", "a guess") == 401
        login = {"u": "grafana", "p": words["GRAFANA_PASSWORD"], "db": "givre", "q": 'SELECT * FROM "sample"'}
        with urllib.request.urlopen(f"{url}/query?{urllib.parse.urlencode(login)}", timeout=5) as answer:
            assert json.load(answer)["results"][0]["series"][0]["values"][0][1:] == [1]
        refused = set_up(url, INFLUX_ADMIN="root:wrong")
        assert refused.returncode == 1
        assert "authorization failed" in refused.stderr


def test_a_server_that_is_not_there_is_named(free_port: int) -> None:
    done = set_up(f"http://127.0.0.1:{free_port}")
    assert done.returncode == 1
    assert f"http://127.0.0.1:{free_port} refused" in done.stderr


def test_a_name_that_would_need_quotes_is_refused(influx: Influx) -> None:
    done = set_up(influx.url, INFLUX_DATABASE='x" DROP DATABASE givre')
    assert done.returncode == 1
    assert "only letters" in done.stderr


def _write(url: str, user: str, password: str) -> int:
    login = urllib.parse.urlencode({"db": "givre", "u": user, "p": password})
    try:
        with urllib.request.urlopen(f"{url}/write?{login}", b"sample value=1", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
