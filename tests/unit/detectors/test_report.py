from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from detectors.evaluation.backtest import Cost, Plan, Series, backtest
from detectors.evaluation.chart import Curves, draw_curves, draw_leads
from detectors.evaluation.figures import evaluate, season_of
from detectors.evaluation.report import Result, curves, render, shown_leads, words
from detectors.forecasters.distribution import log_probability
from detectors.forecasters.persistence import Persistence

if TYPE_CHECKING:
    from collections.abc import Callable

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = 3600.0


class FreeMeter:
    def measure(self, call: Callable[[], Any]) -> tuple[Any, Cost]:
        return call(), Cost(seconds=0.25, memory_bytes=2_000_000)


def result(plan: Plan | None = None, values: np.ndarray | None = None) -> Result:
    steps = np.arange(200)
    values = 20 + np.sin(steps / 4) if values is None else values
    series = Series(tag="plant/<outlet>", period_s=HOUR, start_at=START, values=values)
    (run,) = backtest([series], Persistence(), plan or Plan(horizon=6, first=150, stride=2), meter=FreeMeter())
    return Result(tag=series.tag, runs=[run], figures=[evaluate(run)], treatments=["3 rows left out <31/02>."])


def parsed(svg: str) -> ET.Element:
    root = ET.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return root


def test_the_page_stands_alone_and_its_pictures_are_whole() -> None:
    page = render("History & future", [result()], facts=[("asked", "6 steps")], left_out=["b: too short."])
    assert not re.search(r"""(src|href)=|url\(|@import|<script""", page)
    assert set(re.findall(r"https?://[^\"]+", page)) == {"http://www.w3.org/2000/svg"}
    assert "prefers-color-scheme:dark" in page
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        parsed(svg)


def test_foreign_words_are_words_and_no_markup() -> None:
    page = render("a < b", [result()], facts=[], left_out=[])
    assert "plant/&lt;outlet&gt;" in page
    assert "3 rows left out &lt;31/02&gt;." in page
    assert "<outlet>" not in page


def test_a_figure_of_the_page_is_the_figure_that_was_measured() -> None:
    found = result()
    page = render("t", [found], facts=[], left_out=[])
    figures = found.figures[0]
    for value in (figures.plain.error.mean, figures.plain.measured.variance, figures.normalised.error.mean):
        assert f"<td>{words(value)}</td>" in page
    assert f"<td>{words(figures.leads[5].pinball)}</td>" in page


def test_the_best_of_a_column_is_marked_and_only_where_there_are_two() -> None:
    one = result()
    worse = replace(
        one.figures[0], forecaster="worse", overall=replace(one.figures[0].overall, mase=99.0, pinball=99.0)
    )
    both = Result(tag="t", runs=[one.runs[0]] * 2, figures=[worse, one.figures[0]], treatments=[])
    page = render("t", [both], facts=[], left_out=[])
    assert f'<td class="best">{words(one.figures[0].overall.mase)}</td>' in page
    assert '<td class="best">99.00</td>' not in page
    assert '<td class="best">' not in render("t", [one], facts=[], left_out=[])


def test_figures_of_a_run_by_hand() -> None:
    values = np.array([0.0, 10.0, 0.0, 10.0, 4.0, 7.0])
    found = result(Plan(horizon=2, first=4, one_shot=True), values)
    figures = found.figures[0]
    medians = found.runs[0].quantiles[0, :, 3]
    errors = np.abs([4.0, 7.0] - medians)
    assert figures.plain.measured.mean == 5.5
    assert figures.plain.error.mean == pytest.approx(errors.mean())
    assert figures.plain.error_percent == pytest.approx(100 * errors.mean() / 5.5)
    assert figures.normalised.error.maximum == pytest.approx(errors.max() / 10)
    assert figures.overall.mase == pytest.approx(errors.mean() / 10)
    assert [lead.mean_absolute_error for lead in figures.leads] == pytest.approx(errors.tolist())
    cells = [
        log_probability(found.runs[0].quantiles[0, i], v - 0.005, v + 0.005, spread=10.0)
        for i, v in enumerate((4.0, 7.0))
    ]
    assert figures.overall.log_score == pytest.approx(np.mean(cells))
    assert figures.leads[1].log_score == pytest.approx(cells[1])
    assert (figures.seconds, figures.memory_bytes) == (0.25, 2_000_000)


def test_the_season_is_a_day_or_a_week_that_the_history_holds_twice() -> None:
    hourly = Series(tag="t", period_s=HOUR, start_at=START, values=np.zeros(400))
    daily = Series(tag="t", period_s=24 * HOUR, start_at=START, values=np.zeros(400))
    assert season_of(hourly, 48) == 24
    assert season_of(hourly, 47) == 1
    assert season_of(daily, 14) == 7
    assert season_of(daily, 13) == 1


def test_the_drawn_curve_is_a_chain_of_whole_forecasts() -> None:
    found = result(Plan(horizon=6, first=150, stride=2))
    run = found.runs[0]
    drawn = curves(run, found.figures[0])
    assert drawn.measured.tolist() == run.series.values[-len(drawn.measured) :].tolist()
    assert np.array_equal(drawn.quantiles[-6:], run.quantiles[-1])
    assert np.array_equal(drawn.quantiles[-12:-6], run.quantiles[-4])
    assert drawn.past is not None and drawn.past[-1] == drawn.measured[0]


def picture(measured: list[float], spread: float = 1.0) -> Curves:
    values = np.array(measured)
    quantiles = values[:, None] + spread * np.linspace(-3, 3, 7)
    return Curves(title="a", note="", moments_s=HOUR * np.arange(len(values)), measured=values, quantiles=quantiles)


def test_a_hole_is_a_gap_in_the_line_and_in_the_band() -> None:
    root = parsed(draw_curves([picture([1, 2, math.nan, 4, 5])]))
    lines = [path.attrib["d"] for path in root.iter("{http://www.w3.org/2000/svg}path")]
    assert [line.count("M") for line in lines] == [2, 2, 2, 2]
    assert [line.count("Z") for line in lines] == [2, 2, 0, 0]


@pytest.mark.parametrize(
    "measured", [[5.0, 5.0], [0.0, 0.0, 0.0], [math.nan, math.nan], [1e12, 2e12], [1e-9, 2e-9], [1.0]]
)
def test_whatever_the_values_the_picture_is_drawn_within_its_paper(measured: list[float]) -> None:
    root = parsed(draw_curves([picture(measured, 1e-9), picture(measured, 1e14)], columns=2, title="both"))
    numbers = [
        float(n) for p in root.iter("{http://www.w3.org/2000/svg}path") for n in re.findall(r"-?[\d.]+", p.attrib["d"])
    ]
    assert all(-5 <= number <= 930 for number in numbers)
    assert "nan" not in ET.tostring(root, encoding="unicode")


@pytest.mark.parametrize("days", [0.01, 1, 20, 90, 400, 3000])
def test_times_are_labelled_at_any_length_of_history(days: float) -> None:
    moments = START.timestamp() + np.linspace(0, days * 86_400, 50)
    one = replace(picture([1.0] * 50), moments_s=moments)
    labels = re.findall(
        r'text-anchor="(?:middle|start|end)">([^<]*\d{2}:\d{2}|\d\d \w{3}|\w{3} \d{4})<', draw_curves([one])
    )
    assert 2 <= len(labels) <= 13
    assert len(set(labels)) == len(labels)


def test_labels_of_lines_that_end_together_do_not_cover_each_other() -> None:
    svg = draw_leads([(f"m{i}", [1.0, 2.0 + i / 1000]) for i in range(8)], ylabel="error")
    heights = sorted(float(y) for y in re.findall(r'<text class="f\d" x="[\d.]+" y="([\d.]+)"', svg))
    assert len(heights) == 8
    assert min(np.diff(heights)) >= 13.9


def test_leads_are_few_and_the_last_is_always_among_them() -> None:
    assert shown_leads(1) == [1]
    assert shown_leads(61) == [1, 2, 3, 6, 12, 24, 48, 61]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (12.3456, "12.35"),
        (1234.56, "1,235"),
        (0.01234, "0.01234"),
        (1e-9, "1e-09"),
        (1e12, "1e+12"),
        (math.nan, "-"),
    ],
)
def test_figures_have_four_digits_that_matter(value: float, text: str) -> None:
    assert words(value) == text
