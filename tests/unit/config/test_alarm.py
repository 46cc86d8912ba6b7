"""The alarms that a configuration makes, and what may be said of which of them explains which."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config.alarm import alarms
from config.errors import ConfigError
from config.load import load
from stream.assemble import build_lane

SAMPLE = Path(__file__).parents[3] / "config" / "heat_exchanger.yaml"
FILE = """\
site: test
sources: {{broker: {{type: mqtt, host: 127.0.0.1, client_id: in}}}}
assets:
  hx:
    tags:
      water:
        unit: degC
        period_s: 1
        hold_s: 30
        tolerance: {{setpoint: 5, tolerance: 0.2{tolerance}}}
        limits: {{high: {{at: 8{high}}}}}
        source: {{name: broker, topic: plant/water}}
"""


def written(folder: Path, tolerance: str = "", high: str = "") -> Path:
    path = folder / "givre.yaml"
    path.write_text(FILE.format(tolerance=tolerance, high=high))
    return path


@pytest.mark.parametrize("opened", [False, True])
def test_the_names_are_those_of_the_alarms_that_are_made(tmp_path: Path, opened: bool) -> None:
    text = SAMPLE.read_text()
    if opened:  # of two marks one is left
        text = re.sub(r"^( *)# ", r"\1", text, flags=re.MULTILINE)
    path = tmp_path / "givre.yaml"
    path.write_text(text)
    settings = load(path).settings
    named = [alarm.name for alarm in alarms(settings)]
    assert sorted(named) == sorted(build_lane(settings, {}).alarms)


def test_an_alarm_may_be_explained_by_another_and_by_a_lost_source(tmp_path: Path) -> None:
    path = written(tmp_path, tolerance=", suppressed_by: [hx/water/high, source/broker/lost]")
    assert build_lane(load(path).settings, {}).alarms["hx/water/tolerance"].rule.suppressed_by == (
        "hx/water/high",
        "source/broker/lost",
    )


@pytest.mark.parametrize(
    ("tolerance", "high", "said"),
    [
        ("hx/water/hihg", "", r"expected an alarm of this file \(hx/water/high.*\), found 'hx/water/hihg'"),
        ("hx/water", "", "expected the name of an alarm, asset/tag/rule"),
        ("hx/water/tolerance", "", "expected no circle, found hx/water/tolerance by hx/water/tolerance"),
        (
            "hx/water/high",
            "hx/water/tolerance",
            "expected no circle, found hx/water/tolerance by hx/water/high by hx/water/tolerance",
        ),
    ],
)
def test_an_unknown_parent_and_a_circle_are_refused_where_they_stand(
    tmp_path: Path, tolerance: str, high: str, said: str
) -> None:
    path = written(tmp_path, f", suppressed_by: [{tolerance}]", f", suppressed_by: [{high}]" if high else "")
    with pytest.raises(ConfigError, match=said) as caught:
        load(path)
    assert "suppressed_by" in str(caught.value)
