"""What does the model answer if it is asked as people ask?"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from detectors.language.error import ModelError
from detectors.language.model import load_model
from detectors.language.prompt import PromptForecaster
from detectors.language.wording import conversation
from detectors.records import Window

DAY = 86_400.0
HORIZON = 9


@pytest.fixture
def asked(tiny_model):
    model = load_model(tiny_model("speaks"), device="cpu", numbers="float32")

    def make(style: str = "json", **settings) -> PromptForecaster:
        return PromptForecaster(model, style=style, **{"samples": 3, "seed": 2, **settings})

    return make


def daily(values, end: datetime = datetime(2015, 2, 20, tzinfo=UTC)) -> Window:
    return Window(tag="site/load", period_s=DAY, end_at=end, values=tuple(map(float, values)))


def text_of(made: PromptForecaster, window: Window, entries: int = 99) -> str:
    tokens, _ = made.prompt(window, HORIZON, entries=entries)
    pieces = {i: piece for piece, i in made._spoken.tokenizer.get_vocab().items()}
    return "".join(pieces[token] for token in tokens)


def test_the_prompt_shows_the_past_and_asks_for_the_dates_to_come(asked) -> None:
    text = text_of(asked("role"), daily([*range(50, 60), math.nan, 61]))
    assert text.startswith("You are an expert")
    assert f"forecast the next {HORIZON} values" in text
    assert '{"date": "2015-02-18", "value": 59}, {"date": "2015-02-20", "value": 61}]' in text, "a hole is left out"
    assert "9 entries, from 2015-02-21 to 2015-03-01." in text
    assert text.endswith('[{"date": "2015-02-21", "value": '), "the answer begins, and is held to its form"
    assert "expert" not in text_of(asked("json"), daily(range(12)))
    past = text_of(asked("json"), daily(range(30)), entries=10)
    assert len(json.loads(past[past.index("[") : past.index("]") + 1])) == 10


def test_the_models_own_chat_template_frames_it(asked) -> None:
    made = asked("role")
    made._spoken.tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    text = text_of(made, daily(range(12)))
    assert text.startswith(
        "<system>You are an expert in forecasting time series of industrial measurements.</system><user>"
    )
    assert text.endswith('</user><assistant>[{"date": "2015-02-21", "value": ')


@pytest.mark.parametrize("style", ["json", "role"])
def test_what_other_tools_learn_with_are_the_words_that_the_model_is_asked_with(asked, style: str) -> None:
    window = daily([*range(50, 60), math.nan, 61])
    said = conversation(style, window, [62.0, 63.4])
    made = asked(style)
    tokens, _ = made.prompt(window, 2, entries=99)
    pieces = {i: piece for piece, i in made._spoken.tokenizer.get_vocab().items()}
    text = "".join(pieces[token] for token in tokens)
    frame = f"{said.role}\n{said.prompt}\n".lstrip("\n")
    assert text.removeprefix("<s>") == frame + '[{"date": "2015-02-21", "value": '
    assert json.loads(said.response) == [
        {"date": "2015-02-21", "value": 62},
        {"date": "2015-02-22", "value": 63},
    ], "in the figures that the past has"


@pytest.mark.parametrize("style", ["json", "role"])
@pytest.mark.parametrize("scale", [1.0, -40.0, 1e-9, 1e11])
def test_every_answer_has_exactly_the_values_asked_for(asked, style: str, scale: float) -> None:
    values = scale * (50 + np.random.default_rng(1).normal(size=20).round(1))
    made = asked(style)
    (forecast,) = made.forecast([daily(values)], horizon=HORIZON)
    assert forecast.forecaster == f"language-{style}"
    assert forecast.horizon == HORIZON
    assert forecast.at(HORIZON) == datetime(2015, 3, 1, tzinfo=UTC)
    assert np.shape(forecast.paths) == (3, HORIZON)
    assert np.isfinite(forecast.paths).all()
    assert np.abs(forecast.paths).max() <= 1000 * np.abs(values).max(), "a figure more than the past has, no further"
    assert (np.diff(forecast.quantiles, axis=1) >= 0).all()


def test_the_same_window_and_seed_give_the_same_answers(asked) -> None:
    windows = [daily(range(20)), daily([5.0] * 12)]
    first = asked().forecast(windows, horizon=3)
    assert asked().forecast(windows, horizon=3) == first
    assert asked(seed=5).forecast(windows, horizon=3) != first
    assert asked().forecast(windows[1:], horizon=3) == first[1:]


def test_each_answer_is_what_the_model_says_behind_its_own_words(asked) -> None:
    """Greedy decoding, against the model read from the beginning for every symbol."""
    import torch

    from detectors.language.cache import Cache, Reading
    from detectors.language.grammar import END, SYMBOLS

    made = asked(temperature=1e-6, samples=2)
    window = daily([50.5, 51.0, 49.5, *range(50, 60)])
    (forecast,) = made.forecast([window], horizon=3)
    tokens, number = made.prompt(window, 3, entries=99)
    model, spoken = made._model, made._spoken
    for lead in range(1, 4):
        said = ""
        while not said.endswith(END):
            cache = Cache(model.shape, rows=1, capacity=2000, device=model.device, dtype=model.dtype)
            reading = Reading(cache, torch.tensor([0]), torch.tensor([0]), len(tokens))
            hidden = model.run(torch.tensor([tokens]), reading)[0, -1]
            scores = dict(zip(SYMBOLS, (hidden @ spoken.head.T).tolist(), strict=True))
            said += max(number.may(said), key=scores.__getitem__)
            tokens.append(spoken.tokens[said[-1]])
        assert [path[lead - 1] for path in forecast.paths] == [number.read(said.removesuffix(END))] * 2
        tokens += made._opening(window, lead + 1, first=False)


def test_a_short_window_gets_none_and_a_long_one_is_cut(asked, tiny_model) -> None:
    made = asked(context=500)
    assert made.forecast([daily([1, 2, 3, math.nan, 5])], horizon=2) == []
    (forecast,) = made.forecast([daily(range(400))], horizon=5)
    assert forecast.horizon == 5
    with pytest.raises(ModelError, match=r"expected at most 2048 tokens.*8 entries and an answer of 200"):
        made.forecast([daily(range(400))], horizon=200)


def test_a_vocabulary_without_the_symbols_is_refused_but_reads_digits(tiny_model) -> None:
    model = load_model(tiny_model("splits"), device="cpu", numbers="float32")
    with pytest.raises(ModelError, match="Instruction prompts need them"):
        PromptForecaster(model, style="json")


def test_answers_that_do_not_fit_into_memory_are_refused(asked, monkeypatch) -> None:
    monkeypatch.setattr("detectors.language.prompt.free_memory", lambda _device: 1000)
    with pytest.raises(ModelError, match="fewer samples"):
        asked().forecast([daily(range(20))], horizon=3)


@pytest.mark.model
def test_the_default_model_answers_near_the_past(default_model) -> None:
    made = PromptForecaster(load_model(default_model), style="json", samples=2, seed=1)
    values = 50_000 + 3_000 * np.sin(np.arange(40) * 2 * np.pi / 7)
    window = daily(np.round(values))
    (forecast,) = made.forecast([window], horizon=3)
    assert forecast.at(1) - window.end_at == timedelta(days=1)
    assert 30_000 < np.median(forecast.paths) < 70_000
