"""How is an alert told in French? With a decimal comma, and the spaces that French sets before : ; % and units."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detectors.reason.told import LONGEST_WORD, SILENT, Found, Told, digits, short, span
from detectors.records import AlarmState

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from detectors.facts import Part
    from detectors.records import Verdict

__all__ = ["french"]

_S, _N = "\N{NO-BREAK SPACE}", "\N{NARROW NO-BREAK SPACE}"
"""The space before a colon and a unit, and the one before a semicolon."""
_A = "\N{RIGHT SINGLE QUOTATION MARK}"
"""The apostrophe."""

_SILENCE = {AlarmState.SHELVED: "suspendue", AlarmState.OUT_OF_SERVICE: "mise hors service"}
_SILENCED = {
    AlarmState.SHELVED: "suspension",
    AlarmState.SUPPRESSED: "neutralisation",
    AlarmState.OUT_OF_SERVICE: "mise hors service",
}
_LEVELS = {"low_low": "très bas", "low": "bas", "high": "haut", "high_high": "très haut"}
_RULES = {
    "tolerance": "hors tolérance",
    **{rule: f"seuil {level}" for rule, level in _LEVELS.items()},
    "rate": "gradient",
    "frozen": "mesure figée",
    "stale": "mesure périmée",
    "quality": "qualité",
    "physical": "étendue de mesure",
    "lost": "source perdue",
    "balance": "bilan thermique",
    "response": "retour de marche",
    "deviation": "écart à la prévision",
    "breach": "dépassement prévu",
    "surprise": "comportement inattendu",
    "shift": "décalage",
    "drift": "dérive",
    "rarity": "valeur rare",
    "novelty": "forme inconnue",
    "components": "ensemble inhabituel",
    "mahalanobis": "ensemble inhabituel",
    "forest": "ensemble inhabituel",
}
_SURPRISES = {
    "outward": f"sort des bandes de prévision plus souvent que le hasard ne l{_A}explique",
    "upward": f"reste plus haut dans les bandes de prévision que le hasard ne l{_A}explique",
    "downward": f"reste plus bas dans les bandes de prévision que le hasard ne l{_A}explique",
}


def french(told: Told) -> str:
    """One sentence in French."""
    head = f"{_where(told.tag)}{_S}:"
    alarm = f"{head} alarme «{_S}{_RULES.get(told.rule, told.rule)}{_S}»"
    since = f"depuis {_clock(told.since)}"
    who = short(told.by, LONGEST_WORD)
    if told.state is AlarmState.SUPPRESSED:
        instead = f"e l{_A}alarme {short(told.note, 2 * LONGEST_WORD)}" if told.note else f"{_A}une autre alarme"
        return f"{alarm} neutralisée {_clock(told.at)}, tant qu{instead} est présente."
    if told.state in SILENT:
        end = "" if told.until is None else f" jusqu{_A}{_clock(told.until, 'au')}"
        why = (f" ({short(told.note, LONGEST_WORD)})",) if told.note else ()
        return Found(f"{alarm} {_SILENCE[told.state]} par {who} {_clock(told.at)}{end}", why).before(".")
    if told.previous in SILENT:
        before = _SILENCED[told.previous]
        if told.state is AlarmState.UNACKNOWLEDGED:
            found = _found(told)
            return found._replace(core=f"{head} {found.core}", extras=()).before(
                f"{found.then or ','} {since}{_N}; fin de la {before}."
            )
        by = f" par {who}" if told.by else ""
        missed = f"{_N}; apparue et finie entre-temps, {since}" if told.state is not AlarmState.NORMAL else ""
        return f"{alarm}, fin de la {before}{by} {_clock(told.at)}{missed}."
    if told.accepted:
        return f"{alarm} acceptée comme normale par {who} {_clock(told.at)}."
    if told.by:
        return f"{alarm} acquittée par {who} {_clock(told.at)}."
    if told.state.active:
        found = _found(told)
        return found._replace(core=f"{head} {found.core}").before(f"{found.then or ','} {since}.")
    value = None if told.verdict is None else told.verdict.value
    now = () if value is None else (f"{_N}; {_figure(value, told.unit)} maintenant",)
    return Found(f"{alarm} disparue {_clock(told.at)}, après {_span(told.lasted_s)}", now).before(".")


def _found(told: Told) -> Found:
    rule = _FOUND.get(told.rule)
    if told.verdict is None or rule is None or not told.found:
        return Found(f"règle «{_S}{_RULES.get(told.rule, told.rule)}{_S}» non respectée")
    return rule(told, told.verdict)


def _tolerance(told: Told, found: Verdict) -> Found:
    above = found.value is not None and found.high is not None and found.value > found.high
    side = "dessus" if above else "dessous"
    return Found(f"{_figure(found.value, told.unit)}, au-{side} de la plage admise de {_band(told, found)}", _old(told))


def _level(told: Told, found: Verdict) -> Found:
    side, limit = ("dessous", found.low) if found.high is None else ("dessus", found.high)
    core = f"{_figure(found.value, told.unit)}, au-{side} du seuil {_LEVELS[told.rule]} de {_figure(limit, told.unit)}"
    return Found(core, _old(told))


def _rate(told: Told, _: Verdict) -> Found:
    rate, allowed = told.figure("per_minute") or 0.0, told.figure("allowed_per_minute")
    core = f"{'hausse' if rate > 0 else 'baisse'} de {_figure(abs(rate), told.unit)} par minute"
    core += f", au lieu de {_figure(allowed, told.unit)} au plus"
    return Found(core, (f" (sur {_span(told.figure('over_s'))})",))


def _frozen(told: Told, found: Verdict) -> Found:
    longest, moves = told.figure("longest_s"), told.figure("sibling_moves")
    more = [] if longest is None else [f" ({_span(longest)} au plus jusqu{_A}ici)"]
    more += [f" alors que les mesures voisines ont varié {_figure(moves)} fois"] if moves else []
    core = f"mesure figée à {_figure(found.value, told.unit)} exactement pendant {_span(told.figure('stood_s'))}"
    return Found(core, tuple(more), f"{_N}; alarme")


def _stale(told: Told, _: Verdict) -> Found:
    age, hold = _span(told.figure("age_s")), _span(told.figure("hold_s"))
    core = f"aucune mesure reçue pendant {age}, pour une validité de {hold}"
    return Found(core, (), f"{_N}; mesure périmée")


def _quality(told: Told, _: Verdict) -> Found:
    return Found(f"mauvaise qualité ({short(told.facts.code, LONGEST_WORD) or 'sans raison donnée'})")


def _physical(told: Told, found: Verdict) -> Found:
    core = f"{_figure(found.value, told.unit)}, impossible pour ce capteur ({_band(told, found)})"
    return Found(core, (), f"{_N}; mesure invalidée")


def _lost(told: Told, _: Verdict) -> Found:
    tags, silence = _figure(told.figure("tags")), _span(told.figure("silence_s"))
    return Found(f"aucune donnée pendant {silence} ({tags} points de mesure)", (), f"{_N}; source perdue")


def _balance(told: Told, found: Verdict) -> Found:
    carried = _figure(told.figure("carried"), told.unit)
    core = f"{_figure(found.value, told.unit)} mesurés pour {carried} transportés par l{_A}eau"
    return Found(core, tuple(map(_disagrees, told.facts.parts)), f"{_N};" if told.facts.parts else "")


def _response(told: Told, found: Verdict) -> Found:
    off = told.facts.code == "flow"
    said, flows = (f"à l{_A}arrêt", "avec du débit") if off else ("en marche", "sans débit")
    flow = "".join(f" mais {_name(part.tag)} {flows} ({_figure(part.value, part.unit)})" for part in told.facts.parts)
    core = f"{said} ({_figure(found.value, told.unit)}){flow} pendant {_span(told.figure('lasted_s'))}"
    return Found(core, (), f"{_N}; discordance")


def _deviation(told: Told, found: Verdict) -> Found:
    return Found(f"{_figure(found.value, told.unit)}, hors de la prévision de {_band(told, found)}", _old(told))


def _breach(told: Told, found: Verdict) -> Found:
    core = f"sortie de la plage de {_band(told, found)} avec une probabilité de {_percent(found.probability)}"
    lead = () if found.lead_s is None else (f", dans environ {_span(found.lead_s)}",)
    return Found(core, lead, f"{_N}; prévue")


def _surprise(told: Told, found: Verdict) -> Found:
    return Found(f"{_figure(found.value, told.unit)}, {_SURPRISES[told.facts.code or 'outward']}")


def _shift(told: Told, _: Verdict) -> Found:
    mean, level = _figure(told.figure("mean"), told.unit), _figure(told.figure("level"), told.unit)
    return Found(f"niveau décalé à {mean} au lieu de {level}")


def _rarity(told: Told, found: Verdict) -> Found:
    return Found(f"{_figure(found.value, told.unit)}, ce qui est très rare")


def _novelty(told: Told, _: Verdict) -> Found:
    distance, usual = _figure(told.figure("distance")), _figure(told.figure("usual"))
    core = f"{_figure(told.figure('steps'))} pas d{_A}une forme jamais vue"
    return Found(core, (f" (distance {distance}, habituellement {usual})",))


def _together(told: Told, _: Verdict) -> Found:
    parts = [_contribution(part) for part in told.facts.parts]
    return Found("fonctionnement inhabituel", tuple(f", {part}" for part in parts))


_FOUND: dict[str, Callable[[Told, Verdict], Found]] = {
    "tolerance": _tolerance,
    **dict.fromkeys(_LEVELS, _level),
    "rate": _rate,
    "frozen": _frozen,
    "stale": _stale,
    "quality": _quality,
    "physical": _physical,
    "lost": _lost,
    "balance": _balance,
    "response": _response,
    "deviation": _deviation,
    "breach": _breach,
    "surprise": _surprise,
    "shift": _shift,
    "drift": _shift,
    "rarity": _rarity,
    "novelty": _novelty,
    "components": _together,
    "mahalanobis": _together,
    "forest": _together,
}


def _band(told: Told, found: Verdict) -> str:
    return f"{_figure(found.low)} à {_figure(found.high, told.unit)}"


def _old(told: Told) -> tuple[str, ...]:
    return () if told.age_s is None else (f" (mesure de {_span(told.age_s)} plus tôt)",)


def _disagrees(part: Part) -> str:
    found, wanted = _figure(part.value, part.unit), _figure(part.expected)
    said = f"{_N}; désaccord de {_name(part.tag)}{_S}: {found} au lieu de {wanted}"
    return said if part.usual is None else f"{said} ({_figure(part.usual)} récemment)"


def _contribution(part: Part) -> str:
    if part.value is None or part.expected is None:
        return f"{_name(part.tag)} absent ({_percent(part.share)})"
    return f"{_name(part.tag)} {'haut' if part.value > part.expected else 'bas'} ({_percent(part.share)})"


def _where(tag: str) -> str:
    asset, _, name = tag.partition("/")
    if asset in ("source", "asset"):
        return f"{'source' if asset == 'source' else 'équipement'} {short(name)}"
    return f"{short(name)} ({short(asset)})"


def _name(tag: str) -> str:
    return short(tag.partition("/")[2])


def _figure(value: float | None, unit: str = "") -> str:
    if value is None:
        return "inconnu"
    number = digits(value).replace(".", ",")
    return f"{number}{_S}{unit}" if unit else number


def _percent(share: float | None) -> str:
    return "inconnue" if share is None else f"{100 * share:.0f}{_S}%"


def _span(seconds: float | None) -> str:
    return "une durée inconnue" if seconds is None else span(seconds, "j").replace(" ", _S)


def _clock(at: datetime, article: str = "le") -> str:
    return f"{article} {at:%d/%m/%Y à %H:%M:%S} UTC"
