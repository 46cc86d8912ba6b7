"""What did a detector find, apart from all words? What a sentence in any language is made of.

What was found and expected of the tag itself stands in the verdict; here is what a rule knows beyond that.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Facts", "Part"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one tag has to do with a verdict: what it shows, what was expected of it, its share (0..1) in the score.

    `tag` is its full name, ``asset/tag``; `usual` is what it showed lately; figures are in `unit`, where that is known.
    """

    tag: str
    value: float | None = None
    expected: float | None = None
    usual: float | None = None
    share: float | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The facts of one verdict beyond its value and band.

    `code` is one word: that of a source (``BadSensorFailure``), or one of the few that the detector documents. `figures` are
    finite numbers by name, durations in seconds with a name in ``_s``. `parts` are the tags that contribute, the one that
    does so most first.
    """

    code: str = ""
    figures: tuple[tuple[str, float], ...] = ()
    parts: tuple[Part, ...] = ()

    def figure(self, name: str) -> float | None:
        """The figure of this name; None where the detector did not know it."""
        return next((value for known, value in self.figures if known == name), None)
