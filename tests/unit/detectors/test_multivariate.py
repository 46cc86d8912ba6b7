"""The tags of an asset together: a fault is found, named, and does not become normal."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="pip install 'givre[learn]'")

from detectors.baseline import survey
from detectors.facts import Part
from detectors.multivariate import Moment, Multivariate
from detectors.outlier import fit_components

TAGS = ("pump/flow", "pump/pressure", "pump/current", "pump/warm")
START = datetime(2026, 1, 1, tzinfo=UTC)


def plant(steps: int, seed: int = 0) -> np.ndarray:
    """Flow and pressure wander together; the motor warms up all the time."""
    rng = np.random.default_rng(seed)
    wander = np.repeat(rng.normal(size=steps // 20 + 1), 20)[:steps]
    noise = 0.5 * rng.normal(size=(steps, 4))
    return noise + np.column_stack([0.4 * wander + 30, 0.4 * wander + 5, np.full(steps, 12), 0.1 * np.arange(steps)])


def moments(values: np.ndarray) -> list[Moment]:
    return [
        Moment(asset="pump", end_at=START + timedelta(seconds=i), values=dict(zip(TAGS, row, strict=True)))
        for i, row in enumerate(values.tolist())
    ]


@pytest.fixture
def detector() -> Multivariate:
    baseline = survey(plant(1000), TAGS)
    return Multivariate(tag="pump/all", baseline=baseline, outlier=fit_components(baseline.deviations))


def run(detector: Multivariate, values: np.ndarray) -> tuple[np.ndarray, list[tuple[Part, ...]]]:
    scores, parts, alarm = [], [], False
    for moment in moments(values):
        verdict = detector.judge(moment)
        assert detector.judge(moment) == verdict
        scores.append(np.nan if verdict is None else verdict.score)
        parts.append(() if verdict is None or verdict.facts is None else verdict.facts.parts)
        if verdict is not None:
            alarm = verdict.score > (0.5 if alarm else 1)
        detector.learn(moment, normal=not alarm)
    return np.array(scores), parts


def test_the_drifting_tag_is_left_out_without_being_told(detector):
    assert detector.tags == TAGS[:3]


def test_a_normal_day_is_quiet_and_a_fault_is_found_named_and_stays(detector):
    values = plant(3000, seed=3)
    values[1000:, 2] += 2
    scores, parts = run(detector, values)
    assert np.nanmax(scores[:1000]) < 1
    assert (scores[1010:] > 1).all()
    assert not any(parts[:1000])
    first = parts[1500][0]
    assert first.tag == "pump/current"
    assert first.value > first.expected
    assert 0.5 < first.share <= 1
    assert sum(part.share for part in parts[1500]) <= 1 + 1e-9


class Alike:
    """Finds a share in everything, as a model may even in a tag that stands on its baseline."""

    rule = "components"

    def judge(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        return 2.0, np.ones(len(point))


def test_a_missing_tag_that_is_named_has_no_value():
    detector = Multivariate(tag="pump/all", baseline=survey(plant(1000), TAGS), outlier=Alike())
    values = plant(100, seed=3)
    values[:, 1] = np.nan
    _, parts = run(detector, values)
    shown = {part.tag: part.value for part in parts[-1]}
    assert shown.keys() == set(TAGS[:3])
    assert shown[TAGS[1]] is None
    assert shown[TAGS[0]] == pytest.approx(30, abs=1)


def test_a_missing_tag_counts_as_expected_and_all_missing_says_nothing(detector):
    run(detector, plant(100, seed=3))
    late = START + timedelta(hours=1)
    for _ in range(20):
        moment = Moment(asset="pump", end_at=late, values={TAGS[0]: 30.0, TAGS[1]: None})
        verdict = detector.judge(moment)
        detector.learn(moment, normal=True)
    assert verdict is not None
    assert verdict.score < 1
    for _ in range(20):
        moment = Moment(asset="pump", end_at=late, values={})
        verdict = detector.judge(moment)
        detector.learn(moment, normal=True)
    assert verdict is None


def test_the_same_moments_give_the_same_verdicts():
    baseline = survey(plant(1000), TAGS)
    model = fit_components(baseline.deviations)
    values = plant(200, seed=5)
    one, other = (run(Multivariate(tag="pump/all", baseline=baseline, outlier=model), values) for _ in range(2))
    assert one[1] == other[1]
