"""What is read where not everything fits? All tags with a shorter context first, then fewer tags.

A shorter context costs every tag some foresight; a tag that is left out has none at all. So the context is halved until all
tags fit, and only at the shortest one are the tags of the lowest priority left out. Computed from the plan, before any
memory is taken, and without torch.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from detectors.language.plan import plan_memory

if TYPE_CHECKING:
    from detectors.language.plan import MemoryPlan, Shape

__all__ = ["SHORTEST", "Ration", "ration"]

SHORTEST = 32
"""Values: with a shorter context a model of this kind is no better than persistence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ration:
    """The context and the number of tags that fit, and what of the wish does not, in one sentence (empty: nothing)."""

    context: int
    tags: int
    plan: MemoryPlan
    shortfall: str = ""


def ration(
    shape: Shape,
    *,
    tags: int,
    context: int,
    samples: int,
    horizon: int,
    number_bytes: int,
    available: int,
    where: str,
    most: tuple[int, int] | None = None,
) -> Ration:
    """What fits in `available` bytes, weights included; raises ModelError where not even one tag does.

    `most` is the context and the number of tags that are granted at most, whatever the plan says: for a device that ran
    out of memory although its plan fitted, because somebody else took some.
    """

    def plan(tags: int, context: int) -> MemoryPlan:
        return plan_memory(
            shape, tags=tags, context=context, samples=samples, horizon=horizon, number_bytes=number_bytes
        )

    wish = plan(tags, context)
    longest, crowd = most or (context, tags)
    if wish.total <= available and longest >= context and crowd >= tags:
        return Ration(context=context, tags=tags, plan=wish)
    said = f"memory on {where}: {wish.mib} would be needed, "
    said += f"{available // 2**20:,} MiB are free" if wish.total > available else "and it ran out although it was free"
    contexts = [context]
    while contexts[-1] > SHORTEST:
        contexts.append(max(contexts[-1] // 2, SHORTEST))
    for shorter in contexts:
        if shorter <= longest and tags <= crowd and (less := plan(tags, shorter)).total <= available:
            shortfall = f"{said}; all {tags} tags are read with a context of {shorter} values instead of {context}"
            return Ration(context=shorter, tags=tags, plan=less, shortfall=shortfall)
    shortest = contexts[-1]
    counts = range(1, min(crowd, tags) + 1)
    fit = bisect_right(counts, available, key=lambda count: plan(count, shortest).total)
    if not fit:
        wish.require(available, where=where)
    shortfall = (
        f"{said}; {fit} of {tags} tags are read, those of the highest priority, with a context of {shortest} values"
        f"{f' instead of {context}' if shortest < context else ''}"
    )
    return Ration(context=shortest, tags=fit, plan=plan(fit, shortest), shortfall=shortfall)
