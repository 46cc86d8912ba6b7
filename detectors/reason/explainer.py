"""Can it be said at more length, by a language model? Only what is checked, only when nothing else is to do.

The model is given the facts and asked for a few sentences. What it writes goes out if every figure in it is a fact
(`detectors.reason.check`), two of them at least are there, and it is whole; else, or when its time is up, the facts themselves
are told (`longer`). Words are not checked: no program can say whether they are true. It is written piece by piece, so that
whoever asks for something more urgent waits for one token at most.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from detectors.reason.check import check
from detectors.reason.longer import longer
from detectors.reason.told import Told
from detectors.records import Explanation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from detectors.reason.sentence import Language
    from detectors.records import Alert

__all__ = ["WAITING", "Explainer", "Writer", "whole_sentences"]

WAITING = 8
"""Alerts that wait to be explained; of more, the oldest are told by their facts."""
LEAST_WORDS = 8
LEAST_FACTS = 2
"""Figures of the alert, moments aside, that a text must have where the alert has as many."""
LONGEST = 600
_ROLE = {
    "en": (
        "You explain alarms of an industrial plant to its operator, in two or three short, plain sentences. "
        "You repeat the facts that you are given and add nothing to them."
    ),
    "fr": (
        "Tu expliques les alarmes d'une installation industrielle à son opérateur, en deux ou trois phrases courtes et simples. "
        "Tu répètes les faits donnés et n'y ajoutes rien."
    ),
}
_ASK = {
    "en": "Facts: {facts}\nSay what happened and how far it is from what is expected. Use no number that is not in the facts.",
    "fr": (
        "Faits : {facts}\nDis ce qui s'est passé et l'écart avec ce qui est attendu. "
        "N'utilise aucun nombre qui n'est pas dans les faits."
    ),
}


class Writer(Protocol):
    """A language model that answers in words."""

    def write(self, role: str, ask: str) -> Iterator[str]:
        """The answer as far as it has come, after each further token; the same question has the same answer."""


class Explainer:
    """Explains raised alarms one after the other; `clock` counts seconds, of which each takes `limit_s` at most."""

    def __init__(
        self, writer: Writer, language: Language, *, clock: Callable[[], float], limit_s: float = 30.0
    ) -> None:
        self.asked = 0
        self.passed = 0
        self._writer, self._language, self._clock, self._limit_s = writer, language, clock, limit_s
        self._waiting: deque[Alert] = deque()
        self._finished: list[Explanation] = []
        self._present: tuple[Alert, Iterator[str]] | None = None
        self._text = ""
        self._spent_s = 0.0

    def want(self, alerts: Sequence[Alert]) -> None:
        """Takes alerts to be explained."""
        self._waiting += alerts
        while len(self._waiting) > WAITING:
            self._finish(self._waiting.popleft(), "")

    def go_on(self) -> bool:
        """Writes one piece more; False if there is nothing to write. What the writer raises costs its own text alone."""
        if self._present is None:
            if not self._waiting:
                return False
            alert = self._waiting.popleft()
            ask = _ASK[self._language].format(facts=alert.text)
            self._present = alert, self._writer.write(_ROLE[self._language], ask)
            self._text, self._spent_s = "", 0.0
        alert, pieces = self._present
        began = self._clock()
        try:
            text = next(pieces, None)
        except Exception:  # noqa: BLE001 - a model fails in many ways, and the facts can be told all the same
            self._text, text = "", None
        self._spent_s += self._clock() - began
        if text is None:
            self._end(alert, self._text)
        elif self._spent_s > self._limit_s or len(text) > LONGEST:
            self._end(alert, "")
        else:
            self._text = text
        return True

    def finished(self) -> tuple[Explanation, ...]:
        """What has been written since the last call."""
        finished, self._finished = self._finished, []
        return tuple(finished)

    def _end(self, alert: Alert, text: str) -> None:
        self._present = None
        self._finish(alert, text)

    def _finish(self, alert: Alert, text: str) -> None:
        told = Told.of(alert)
        said = whole_sentences(text)
        checked = check(said, told)
        # What says nothing of the facts is as useless as what says something else.
        least = min(len(check(alert.text, told).facts), LEAST_FACTS)
        good = len(said.split()) >= LEAST_WORDS and not checked.wrong and len(set(checked.facts)) >= least
        self.asked += 1
        self.passed += good
        self._finished.append(
            Explanation(
                tag=alert.tag,
                rule=alert.rule,
                sequence=alert.sequence,
                at=alert.at,
                text=said if good else longer(told, self._language),
                by_model=good,
            )
        )


def whole_sentences(text: str) -> str:
    """On one line, up to the last end of a sentence; a point within a number is none."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    ends = [i + 1 for i, sign in enumerate(line) if sign in ".!?" and line[i + 1 : i + 2] in ("", " ")]
    return line[: ends[-1]] if ends else ""
