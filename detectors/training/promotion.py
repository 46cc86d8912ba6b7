"""Is the challenger better than the champion, on days that neither has seen? Only then is it used.

Both are scored on the same values; a text of the held-out part (some hundred values in a row) is a block. Blocks stand far
enough apart in time to be taken for independent, values do not, so the test is over blocks: a paired randomisation test
(Fisher 1935), which asks in how many of 10,000 ways of exchanging the two, block by block, the gain were as large by chance.
It must win on the whole with confidence, and on no tag may it lose more than the margin: an integrator who loses one tag has
lost that tag.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EXCHANGES = 9_999

__all__ = ["Block", "Margins", "TagGain", "Trial", "judge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What champion and challenger gave to the same values in a row: mean nats per value (less is better), and how many."""

    tag: str
    values: int
    champion: float
    challenger: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """What is asked of a challenger: confidence of the gain on the whole, and the most it may lose on a tag.

    `nats` is per value; `pinball` the ratio of its pinball loss to the champion's on a tag; `whole` that on the whole.
    """

    confidence: float = 0.95
    nats: float = 0.02
    pinball: float = 1.05
    whole: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TagGain:
    """One tag: nats per value of both, and the ratio of the challenger's pinball loss to the champion's (None: not asked)."""

    tag: str
    values: int
    champion: float
    challenger: float
    pinball: float | None

    @property
    def gain(self) -> float:
        """Nats per value; above nought the challenger is better."""
        return self.champion - self.challenger


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came of it; `objections` say why the challenger is refused, none that it is promoted."""

    tags: tuple[TagGain, ...]
    gain: float
    chance: float
    pinball: float | None
    objections: tuple[str, ...]

    @property
    def promoted(self) -> bool:
        """Whether the challenger takes the champion's place."""
        return not self.objections


def judge(
    blocks: Sequence[Block], pinball: Mapping[str, tuple[float, float]] | None = None, margins: Margins | None = None
) -> Trial:
    """The trial over some blocks; `pinball` has the mean loss of champion and challenger by tag.

    On the whole every tag counts alike, whatever its share of the values. Raises ValueError for fewer than two blocks.
    """
    if len(blocks) < 2:
        raise ValueError(f"trial: expected at least 2 blocks of held-out values, found {len(blocks)}")
    margins = margins or Margins()
    losses = pinball or {}
    tags = []
    for tag in dict.fromkeys(block.tag for block in blocks):
        own = [block for block in blocks if block.tag == tag]
        values = sum(block.values for block in own)
        before, after = losses.get(tag, (math.nan, math.nan))
        tags.append(
            TagGain(
                tag=tag,
                values=values,
                champion=sum(block.champion * block.values for block in own) / values,
                challenger=sum(block.challenger * block.values for block in own) / values,
                pinball=after / before if before > 0 and math.isfinite(after) else None,
            )
        )
    gain = float(np.mean([tag.gain for tag in tags]))
    chance = _chance(blocks)
    ratios = [tag.pinball for tag in tags if tag.pinball is not None]
    whole = float(np.exp(np.mean(np.log(ratios)))) if ratios and min(ratios) > 0 else None
    return Trial(
        tags=tuple(tags),
        gain=gain,
        chance=chance,
        pinball=whole,
        objections=tuple(_objections(tags, gain, chance, whole, margins)),
    )


def _chance(blocks: Sequence[Block]) -> float:
    """How likely a gain as large as this were, if the two were alike; each tag counts alike."""
    tags = list(dict.fromkeys(block.tag for block in blocks))
    gains = np.array([block.champion - block.challenger for block in blocks])
    shares = np.array([sum(other.tag == block.tag for other in blocks) for block in blocks]) * len(tags)
    weighted = gains / shares
    signs = np.random.default_rng(0).choice((-1.0, 1.0), size=(EXCHANGES, len(blocks)))
    # A hair of room: exchanging nothing gives the same sum in another order.
    as_large = (signs @ weighted >= weighted.sum() - 1e-12).sum()
    return float((1 + as_large) / (1 + EXCHANGES))


def _objections(
    tags: Sequence[TagGain], gain: float, chance: float, whole: float | None, margins: Margins
) -> list[str]:
    found = []
    if gain <= 0:
        found.append(f"it is worse on the held-out values: by {-gain:.3f} nats per value on the whole")
    elif chance > 1 - margins.confidence:
        found.append(
            f"its gain of {gain:.3f} nats per value may be chance (p = {chance:.2f}, at most {1 - margins.confidence:.2f} asked)"
        )
    if whole is not None and whole > margins.whole:
        found.append(f"its forecasts are worse: pinball loss {whole:.3f} times the champion's on the whole")
    for tag in tags:
        if tag.gain < -margins.nats:
            found.append(f"it loses {-tag.gain:.3f} nats per value on {tag.tag} ({margins.nats:g} allowed)")
        if tag.pinball is not None and tag.pinball > margins.pinball:
            found.append(
                f"its pinball loss on {tag.tag} is {tag.pinball:.3f} times the champion's ({margins.pinball:g} allowed)"
            )
    return found
