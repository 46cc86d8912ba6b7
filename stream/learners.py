"""What learns how its tags usually are, as the settings say? Made in the process of the model lane."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from detectors.asset_baseline import AssetBaseline
from detectors.drift import Drift, Rarity
from detectors.following import Following
from detectors.novelty import Novelty

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.schema import Settings, Tag
    from detectors.following import StepLearner
    from stream.model.process import Learner

__all__ = ["learners"]

DAY_S = 86_400.0
FEWEST, MOST = 200, 20_000
"""Steps that novelty remembers: at 20,000 a step costs a tag some 200 microseconds."""
KEPT = 2000
"""Steps that are learnt again after a restart, of what forgets by itself."""


def learners(settings: Settings) -> tuple[Learner, ...]:
    """A baseline of each asset that asks for one, and each tag's detectors that learn step by step."""
    found: list[Learner] = []
    for name, asset in settings.assets.items():
        if asset.baseline is None:
            continue
        tags = asset.baseline.tags or list(asset.tags)
        period_s = asset.tags[tags[0]].period_s
        baseline = AssetBaseline(
            name=f"asset/{name}",
            tags=[f"{name}/{tag}" for tag in tags],
            period_s=period_s,
            learn_steps=round(asset.baseline.learn_s / period_s),
            rules=asset.baseline.rules,
            chance=asset.baseline.chance,
        )
        found.append(baseline)
    for name, tag in settings.tags().items():
        for make, kept, before in _followed(tag):
            found.append(Following(tag=name, period_s=tag.period_s, make=make, kept=kept, before=before))
    return tuple(found)


def _followed(tag: Tag) -> list[tuple[Callable[[], StepLearner], int, int]]:
    """How to make each detector of a tag, how many steps are kept of it, and how many must be before it is judged."""
    found: list[tuple[Callable[[], StepLearner], int, int]] = []
    if tag.novelty is not None:
        memory = min(max(round(tag.novelty.remember_s / tag.period_s), FEWEST), MOST)
        # Before a day was seen, each hour of it is new.
        before = min(round(DAY_S / tag.period_s), memory // 2)
        found.append((partial(Novelty, memory=memory, minimum=tag.novelty.minimum), memory, before))
    if tag.drift is not None:
        found.append((partial(Drift, chance=tag.drift.chance, minimum=tag.drift.minimum), KEPT, 0))
    if tag.rarity is not None:
        found.append((Rarity, KEPT, 0))
    return found
