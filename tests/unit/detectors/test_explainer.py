"""What a language model writes of an alert reaches nobody unchecked."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

import pytest

from detectors.language.error import ModelError
from detectors.language.model import load_model
from detectors.language.writer import MOST_TOKENS, PENALTY, LanguageWriter
from detectors.reason.check import unfounded
from detectors.reason.example import EXAMPLES
from detectors.reason.explainer import WAITING, Explainer, whole_sentences
from detectors.reason.longer import longer
from detectors.reason.sentence import sentence
from detectors.records import Alert, Priority

if TYPE_CHECKING:
    from collections.abc import Iterator

TOLD = EXAMPLES[0]
GOOD = "The chilled water is at 5.31 degC, and at most 5.2 degC is allowed. It began at 08:30."


def alert(sequence: int = 1, told=TOLD) -> Alert:
    return Alert(
        tag=told.tag, rule=told.rule, sequence=sequence, state=told.state, previous=told.previous, at=told.at,
        since=told.since, priority=Priority.LOW, text=sentence(told), verdict=told.verdict, unit=told.unit,
    )  # fmt: skip


class Says:
    """A model that answers the same to everything, a word at a time."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.asked: list[str] = []

    def write(self, role: str, ask: str) -> Iterator[str]:
        self.asked.append(f"{role}\n{ask}")
        words = self.text.split(" ")
        for i in range(len(words)):
            if words[i] == "BREAKS":
                raise RuntimeError("CUDA error")
            yield " ".join(words[: i + 1])


def explained(writer, *alerts: Alert, language="en", **settings):
    ticks = count()
    made = Explainer(writer, language, clock=lambda: float(next(ticks)), **{"limit_s": 1000.0, **settings})
    made.want(alerts)
    while made.go_on():
        pass
    return made, made.finished()


def test_a_text_whose_figures_are_facts_goes_out_and_says_who_wrote_it() -> None:
    writer = Says(GOOD)
    made, (found,) = explained(writer, alert(sequence=7))
    assert (found.text, found.by_model, found.sequence, found.alarm) == (
        GOOD,
        True,
        7,
        "exchanger/chilled_water/tolerance",
    )
    assert (made.asked, made.passed) == (1, 1)
    assert sentence(TOLD) in writer.asked[0]
    assert made.finished() == ()
    assert not made.go_on()


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("5.31", "5.41"),
        GOOD.replace("08:30", "08:31:00"),
        GOOD.replace("5.31 degC", "5.31 %"),
        f"{GOOD} There were 3 such alarms this week.",
        "No.",
        "The water is warm, and nobody knows why that should be so. It began at 08:30.",
        "",
        "The water goes on and on and never comes to an end because",
        f"{GOOD} BREAKS",
        GOOD + " And so on." * 80,
    ],
    ids=["value", "time", "unit", "invented", "too short", "no facts", "nothing", "no end", "model fails", "too long"],
)
def test_anything_else_is_left_aside_and_the_facts_are_told(text: str) -> None:
    made, (found,) = explained(Says(text), alert())
    assert (found.text, found.by_model) == (longer(TOLD, "en"), False)
    assert (made.asked, made.passed) == (1, 0)


def test_a_text_that_takes_too_long_is_given_up() -> None:
    _, (found,) = explained(Says(GOOD), alert(), limit_s=5.5)
    assert not found.by_model


def test_half_a_sentence_at_the_end_is_cut_off() -> None:
    _, (found,) = explained(Says(f"{GOOD} The next thing is that"), alert())
    assert (found.text, found.by_model) == (GOOD, True)
    assert whole_sentences("It is 5.31 now") == ""
    assert whole_sentences("It is 5.31\n now.\x00 And?") == "It is 5.31 now. And?"


def test_of_too_many_alerts_the_oldest_are_told_by_their_facts_at_once() -> None:
    made = Explainer(Says(GOOD), "en", clock=lambda: 0.0)
    made.want([alert(i) for i in range(1, WAITING + 4)])
    assert [(found.sequence, found.by_model) for found in made.finished()] == [(1, False), (2, False), (3, False)]


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("told", EXAMPLES, ids=lambda told: told.rule)
def test_at_more_length_there_are_all_facts_and_nothing_but_facts(told, language) -> None:
    text = longer(told, language)
    assert unfounded(text, told) == []
    assert text.startswith(sentence(told, language))
    for part in told.facts.parts:
        assert part.tag in text
    assert len(text) < 600


@pytest.fixture
def model(tiny_model):
    return load_model(tiny_model("speaks", tie_word_embeddings=True), device="cpu", numbers="float32")


def test_it_writes_what_the_model_finds_likeliest(model, tiny_model) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    written = list(LanguageWriter(model).write("be brief", "what is it"))
    assert written[0] == ""
    assert 1 < len(written) <= MOST_TOKENS + 1
    whole = AutoModelForCausalLM.from_pretrained(tiny_model("speaks", tie_word_embeddings=True), dtype=torch.float32)
    before, after = model.spoken.frame("be brief", "", "what is it")
    tokens, said = [*before, *after], []
    for _ in range(len(written) - 1):
        with torch.no_grad():
            logits = whole(torch.tensor([[*tokens, *said]])).logits[0, -1]
        for token in set(said):
            logits[token] = logits[token] / PENALTY if logits[token] > 0 else logits[token] * PENALTY
        said.append(int(logits.argmax()))
    assert written[-1] == model.spoken.decode(said)


def test_a_prompt_longer_than_the_model_is_no_answer(model) -> None:
    assert list(LanguageWriter(model).write("", "a" * 3000)) == []


def test_a_model_with_another_head_cannot_explain(model, tiny_model) -> None:
    with pytest.raises(ModelError, match="expected one whose output words are its input words"):
        LanguageWriter(load_model(tiny_model("speaks"), device="cpu", numbers="float32"))
    with pytest.raises(ModelError, match="tie_word_embeddings"):
        LanguageWriter(replace(model, spoken=None))
