"""What is to be trained, on what, and for how long?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detectors.forecasters.persistence import Persistence
from stream.model.shelf import LANGUAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from detectors.forecasters.forecaster import Forecaster
    from detectors.records import Alert
    from stream.recording import History, Pace

__all__ = ["TrainingRequest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequest:
    """The command line, and what the configuration says of the model; see the help of `givre train`.

    `kind` is what is trained. `model` is the folder of the language model (None: there is none), `shelf` where adapters are
    kept, `context`, `min_context` and `horizon` those of the service, `members` makes those of its panel that need no training.
    `paces` are the grids of its tags (none: every name in the history is a tag, on the grid that it comes on). `alerts` are those
    of the service's journal. With `texts` nothing is trained: what a training would learn is written there,
    in a `style`.
    """

    history: History
    model: Callable[[], Path] | None
    shelf: Path
    context: int
    min_context: int
    kind: str = LANGUAGE
    horizon: int = 12
    members: Callable[[], Sequence[Forecaster]] = lambda: [Persistence()]
    device: str = "auto"
    tags: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    paces: Mapping[str, Pace] = field(default_factory=dict)
    alerts: Sequence[Alert] = ()
    preset: str = "ours"
    rank: int | None = None
    epochs: int | None = None
    budget_s: float = float("inf")
    name: str = ""
    period_s: float | None = None
    timezone: str = "UTC"
    promote: bool = True
    texts: Path | None = None
    style: str = "digits"
