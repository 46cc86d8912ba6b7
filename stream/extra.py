"""What has to be installed before a forecaster or a detector can be made?"""

from __future__ import annotations

from importlib.util import find_spec

__all__ = ["NEEDS", "lacking"]

NEEDS = {"arima": ("statsforecast", "panel"), "recurrent": ("torch", "model"), "graph": ("torch", "model")}
NEEDS |= dict.fromkeys(("components", "mahalanobis", "forest"), ("sklearn", "learn"))
NEEDS |= dict.fromkeys(("drift", "rarity"), ("river", "learn"))
"""Package and extra of those that need one; the language model, in every style, needs the extra `model`."""


def lacking(name: str) -> str:
    """The extra that has to be installed before a forecaster or a detector can be made; empty if nothing is lacking."""
    package, extra = NEEDS.get(name, ("", ""))
    return extra if package and find_spec(package) is None else ""
