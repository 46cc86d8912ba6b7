"""How far is each member of a mixture to be trusted? As far as it has foretold, with a share for all to come back by.

Bayes' rule with fixed share (Herbster & Warmuth 1998, in its form for log-loss): the weight of a member is multiplied by the
probability that it gave to what then happened, and a share `share` of all weight is then spread evenly. A member that said
nothing of a step sleeps through it: it neither gains nor loses (Freund, Schapire, Singer & Warmuth 1997).

The bound. Let K members give probabilities p_k(t), and let the mixture give p(t) = sum_k w_k(t) p_k(t), with weights that are
even at first. On any sequence of T steps, for any way of following one member after another that changes m times,

    -sum ln p(t)  <=  -sum ln p_followed(t)  +  ln K  +  m ln(K / share)  +  (T - 1 - m) ln(1 / (1 - share + share / K)).

So behind the best single member (m = 0) it is never more than ln K plus (T - 1) ln(1 / (1 - share + share / K)): about `share`
a step.

With a `rate` below 1 each step counts for so much of one, as it should where steps tell the same thing over and over (forecasts
of lead h overlap in h steps). Probabilities are raised to its power, and all terms behind the sum are divided by it: the mean of
powers is at most the power of the mean, so what is proved of the powers holds of the mixture.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["awake", "bound", "updated"]


def updated(weights: Array, log_probabilities: Array, *, share: Array | float, rate: Array | float = 1.0) -> Array:
    """The weights after a step: both (..., K), `share` and `rate` (...); a member whose log probability is NaN slept.

    Where all slept, or all but one that has nothing to be compared with, nothing changes but for the share that is spread.
    """
    said = np.isfinite(log_probabilities)
    logs = np.where(said, log_probabilities * np.asarray(rate)[..., None], -np.inf)
    spread = np.asarray(share)[..., None]
    best = logs.max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        gained = np.where(said, weights * np.exp(np.where(said, logs - best, 0.0)), 0.0)
        held = np.where(said, weights, 0.0).sum(axis=-1, keepdims=True)
        total = gained.sum(axis=-1, keepdims=True)
        # What was in the hands of those that spoke stays there, divided anew.
        found = np.where(said & (total > 0), gained * (held / np.where(total > 0, total, 1.0)), weights)
    any_said = said.any(axis=-1, keepdims=True)
    found = np.where(any_said, (1.0 - spread) * found + spread / weights.shape[-1], weights)
    result: Array = found / found.sum(axis=-1, keepdims=True)
    return result


def awake(weights: Array, said: NDArray[np.bool_]) -> Array:
    """The weights among those that say something, adding up to 1: both (..., K); all nought where nobody does."""
    held = np.where(said, weights, 0.0)
    total = held.sum(axis=-1, keepdims=True)
    found: Array = held / np.where(total > 0, total, 1.0)
    return found


def bound(members: int, steps: int, *, share: float, rate: float = 1.0, changes: int = 0) -> float:
    """Most nats by which the mixture can fall behind the best way of following its members with so many changes."""
    if steps < 1:
        return 0.0
    stay = (steps - 1 - changes) * -math.log1p(-share + share / members)
    return (math.log(members) + changes * math.log(members / share) + stay) / rate
