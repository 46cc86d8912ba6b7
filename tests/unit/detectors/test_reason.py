"""The sentence that an operator reads, rule by rule, in each language."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.facts import Facts, Part
from detectors.reason.check import unfounded
from detectors.reason.example import EXAMPLES, TRANSITIONS, table
from detectors.reason.sentence import sentence
from detectors.reason.told import Told, short
from detectors.records import AlarmState, Verdict

T0 = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
BY_RULE = {told.rule: told for told in EXAMPLES}
ALL = [pytest.param(told, id=told.rule) for told in EXAMPLES] + [
    pytest.param(told, id=name) for name, told in TRANSITIONS
]
LANGUAGES = pytest.mark.parametrize("language", ["en", "fr"])

figures = st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 4))
durations = st.floats(0, 1e7, allow_nan=False)
names = st.from_regex(r"[A-Z][A-Za-z_.-]{0,63}", fullmatch=True)
moments = st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))


@st.composite
def anything(draw: st.DrawFn) -> Told:
    """An alert of any rule with any figures: as the example of its rule has them, but others."""
    like = draw(st.sampled_from([*EXAMPLES, *(told for _, told in TRANSITIONS)]))
    verdict, facts = like.verdict, like.facts
    assert verdict is not None

    def anew(value: float | None) -> float | None:
        return None if value is None else draw(figures)

    facts = Facts(
        code=facts.code,
        figures=tuple((name, draw(durations if name.endswith("_s") else figures)) for name, _ in facts.figures),
        parts=tuple(
            replace(
                part,
                tag=f"{draw(names)}/{draw(names)}",
                value=anew(part.value),
                expected=anew(part.expected),
                usual=anew(part.usual),
                share=None if part.share is None else draw(st.floats(0, 1)),
            )
            for part in facts.parts
        ),
    )
    since = draw(moments)
    at = since + timedelta(seconds=draw(durations))
    found = replace(
        verdict,
        at=at - timedelta(seconds=draw(durations)),
        score=draw(st.floats(0, 1e3)),
        value=anew(verdict.value),
        low=anew(verdict.low),
        high=anew(verdict.high),
        probability=None if verdict.probability is None else draw(st.floats(0, 1)),
        lead_s=None if verdict.lead_s is None else draw(durations),
        facts=facts,
    )
    asset, _, _ = like.tag.partition("/")
    asset = asset if asset in {"source", "asset"} else draw(names)
    until = None if like.until is None else at + timedelta(seconds=draw(durations))
    return replace(like, tag=f"{asset}/{draw(names)}", at=at, since=since, until=until, verdict=found)


@LANGUAGES
@given(told=anything())
def test_every_figure_of_every_sentence_is_a_fact_and_no_sentence_is_long(language, told) -> None:
    text = sentence(told, language)
    assert unfounded(text, told) == []
    assert len(text) < 200
    assert text.endswith(".")
    assert "\n" not in text
    assert not re.search(r"\b(nan|None|inf)\b", text)


@pytest.mark.parametrize("told", ALL)
def test_both_languages_name_the_same_figures(told) -> None:
    def numbers(text: str) -> list[float]:
        plain = re.sub(r"(\d\d)/(\d\d)/(\d{4})", r"\3-\2-\1", text).replace(",", ".")
        return sorted(abs(float(n)) for n in re.findall(r"\d+(?:\.\d+)?", plain))

    english, french = numbers(sentence(told, "en")), numbers(sentence(told, "fr"))
    # Where there is not room for all of it, French, the longer, leaves something out.
    assert set(french) <= set(english)
    assert len(french) >= len(english) - 1


def test_french_is_set_as_french_is() -> None:
    nbsp, narrow, apostrophe = "\N{NO-BREAK SPACE}", "\N{NARROW NO-BREAK SPACE}", "\N{RIGHT SINGLE QUOTATION MARK}"
    for told in (*EXAMPLES, *(told for _, told in TRANSITIONS)):
        text = sentence(told, "fr")
        assert "'" not in text
        assert not re.search(r"(?<!\d)[^\S\xa0]:|[^\S\u202f];|\d\.\d| [%»]|« ", text), text
        assert not re.search(r"\d (degC|kW|m3/h|s|min|h|j)\b", text), text
    assert sentence(BY_RULE["tolerance"], "fr") == (
        f"chilled_water (exchanger){nbsp}: 5,31{nbsp}degC, au-dessus de la plage admise de 4,8 à 5,2{nbsp}degC, "
        "depuis le 01/03/2026 à 08:30:00 UTC."
    )
    assert f"transportés par l{apostrophe}eau{narrow}; désaccord de flow{nbsp}: " in sentence(BY_RULE["balance"], "fr")


def test_the_page_shows_every_sentence_as_it_is() -> None:
    page = (Path(__file__).parents[3] / "docs" / "alerts.md").read_text(encoding="utf-8")
    assert f"\n{table()}\n" in page, "take over the table as the comment above it in docs/alerts.md says"


def test_each_rule_of_a_detector_has_a_sentence_of_its_own_in_both_languages() -> None:
    folder = Path(__file__).parents[3] / "detectors"
    found = {
        name
        for path in folder.glob("*.py")
        for name in re.findall(r'^    rule(?:: str)? = "(\w+)"', path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert {"tolerance", "frozen", "drift", "forest"} <= found
    assert found <= BY_RULE.keys()
    for told in EXAMPLES:
        assert "rule since" not in sentence(told, "en")
        assert f"its {told.rule} rule" not in sentence(told, "en")
        assert "non respectée" not in sentence(told, "fr")


@LANGUAGES
def test_what_is_said_on_an_acknowledgement_needs_no_verdict(language) -> None:
    told = replace(EXAMPLES[0], verdict=None)
    assert unfounded(sentence(told, language), told) == []
    assert "5.31" not in sentence(told, language)


@LANGUAGES
def test_an_alarm_that_waits_for_its_off_delay_is_not_told_with_a_good_value(language) -> None:
    told = replace(EXAMPLES[0], previous=AlarmState.SHELVED, verdict=replace(EXAMPLES[0].verdict, value=5.0, score=0.0))
    assert "5.2" not in sentence(told, language)
    assert "5,2" not in sentence(told, language)


def test_an_old_value_is_said_to_be_old() -> None:
    told = replace(EXAMPLES[0], at=T0 + timedelta(minutes=10))
    assert "5.2 degC (measured 8 min 25 s before), since" in sentence(told, "en")
    assert "(mesure de 8 min 25 s plus tôt)" in sentence(told, "fr").replace("\N{NO-BREAK SPACE}", " ")


def test_a_rule_that_nobody_knows_is_named() -> None:
    assert "violates its novel rule" in sentence(replace(EXAMPLES[0], rule="novel"), "en")
    assert "novel" in sentence(replace(EXAMPLES[0], rule="novel"), "fr")


def test_a_long_name_keeps_its_ends() -> None:
    assert short("a" * 24) == "a" * 24
    assert short("begin" + "x" * 60 + "end", 11) == "begin…xxend"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("It is 5.31 degC, about 5.3, well over 5.2.", []),
        ("It is 5,31 degC.", []),
        ("It is 5.4 degC.", ["5.4"]),
        ("It is 6 degC.", ["6"]),
        ("It is 5 degC.", ["5"]),
        ("It is 5 hours of 5.31 seconds.", ["5", "5.31"]),
        ("It took 95 seconds, 1.6 minutes, a 1.58-minute spell, or 95 degC.", ["95"]),
        ("Il a duré 95 secondes, 2 semaines, 0,026 heures.", ["2"]),
        ("It rose by 0.11 degC over 5.2.", ["0.11"]),
        ("It began on 2026-03-01 at 08:30:00 and was told at 08:31.", []),
        ("It began on 2026-03-02 at 08:30:01.", ["2026-03-02", "08:30:01"]),
        ("That is 95 s, or 1 min 35 s.", []),
        ("That is 3 min 35 s or 12 s.", ["3 min 35 s", "12 s"]),
        ("Line 4 of 10 is 53.1.", ["4", "10", "53.1"]),
        ("tank7 shows 5.31, tank8 too.", ["8"]),
        ("1e3 of 5.31e0", ["1e3"]),
        ("It is at 5.31 % of it, 5.31 percent.", ["5.31", "5.31"]),
    ],
)
def test_a_figure_that_is_no_fact_is_found(text: str, wrong: list[str]) -> None:
    verdict = Verdict(tag="hx/tank7", rule="tolerance", at=T0, score=2.0, value=5.31, low=4.8, high=5.2)
    told = replace(EXAMPLES[0], tag="hx/tank7", verdict=verdict)
    assert unfounded(text, told) == wrong


def test_no_figure_is_borne_out_by_a_fact_that_is_no_number() -> None:
    facts = Facts(figures=(("x", math.nan), ("y_s", math.inf)), parts=(Part(tag="a/b", share=math.nan),))
    told = replace(EXAMPLES[0], verdict=replace(EXAMPLES[0].verdict, value=math.nan, low=None, high=None, facts=facts))
    assert unfounded("5 and 7.", told) == ["5", "7"]
