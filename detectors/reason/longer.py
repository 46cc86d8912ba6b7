"""What else is known of an alert? All its facts in a few plain sentences, where one sentence leaves some of them out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detectors.reason.sentence import sentence
from detectors.reason.told import digits, span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detectors.facts import Part
    from detectors.reason.sentence import Language
    from detectors.reason.told import Told

__all__ = ["longer"]

_S, _N = "\N{NO-BREAK SPACE}", "\N{NARROW NO-BREAK SPACE}"
_WORDS = {
    "en": {
        "facts": "Further figures: {}.",
        "parts": "Tags that contribute: {}.",
        "shows": "shows {}",
        "expected": "expected {}",
        "usual": "lately {}",
        "share": "share {} %",
        "day": "d",
    },
    "fr": {
        "facts": f"Autres valeurs{_S}: {{}}.",
        "parts": f"Mesures en cause{_S}: {{}}.",
        "shows": "affiche {}",
        "expected": "attendu {}",
        "usual": "récemment {}",
        "share": f"part {{}}{_S}%",
        "day": "j",
    },
}
_FACTS_FR = {
    "per_minute": "par minute",
    "allowed_per_minute": "admis par minute",
    "over_s": "durée de mesure",
    "stood_s": "figée pendant",
    "longest_s": "au plus jusque-là",
    "sibling_moves": "variations des mesures voisines",
    "age_s": "âge",
    "hold_s": "validité",
    "tags": "points de mesure",
    "silence_s": "silence",
    "carried": "transporté",
    "lasted_s": "durée",
    "mean": "moyenne",
    "level": "niveau",
    "steps": "pas",
    "distance": "distance",
    "usual": "habituel",
}


def longer(told: Told, language: Language) -> str:
    """The sentence of an alert and all facts beside it; every figure is one of them."""
    return " ".join((sentence(told, language), *_more(told, language)))


def _more(told: Told, language: Language) -> Iterator[str]:
    words = _WORDS[language]

    def figure(value: float, unit: str = "") -> str:
        number = digits(value)
        if language == "fr":
            return f"{number.replace('.', ',')}{_S}{unit}".rstrip(_S)
        return f"{number} {unit}".rstrip()

    def part(one: Part) -> str:
        said = [words["share"].format(f"{100 * one.share:.0f}")] if one.share is not None else []
        for word, value in (("shows", one.value), ("expected", one.expected), ("usual", one.usual)):
            said += [words[word].format(figure(value, one.unit))] if value is not None else []
        return f"{one.tag} ({', '.join(said)})"

    if told.facts.figures:
        said = []
        for name, value in told.facts.figures:
            shown = span(value, words["day"]) if name.endswith("_s") else figure(value)
            plain = _FACTS_FR.get(name, name) if language == "fr" else name.removesuffix("_s").replace("_", " ")
            said.append(f"{plain} {shown.replace(' ', _S) if language == 'fr' else shown}")
        yield words["facts"].format(", ".join(said))
    if told.facts.parts:
        between = f"{_N}; " if language == "fr" else "; "
        yield words["parts"].format(between.join(map(part, told.facts.parts)))
