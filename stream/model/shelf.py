"""Which adapters are there, and which one is in use? A folder with one folder for each, and pointers beside them.

An adapter is one of the language model, or a trained network that foretells beside it: of each kind one may be in use, and has
a pointer. The running service looks at the pointers between its turns, so that a promotion or a roll-back needs no restart. A
pointer is a small file that appears whole, by a rename.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from detectors.language.adapter import CARD

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["KINDS", "LANGUAGE", "Shelf", "ShelfError"]

LANGUAGE = "language"
KINDS = (LANGUAGE, "recurrent", "graph")
UNFINISHED = "unfinished"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
REMEMBERED = 20
"""Adapters that can be rolled back to."""


class ShelfError(Exception):
    """An adapter that is not there, or cannot be used: subject, what was expected, what was found, what to do."""


class Shelf:
    """The adapters in a folder, which need not exist yet; `kind` is that of which one is in use, or made."""

    def __init__(self, folder: Path, kind: str = LANGUAGE) -> None:
        self.folder = folder
        self.kind = kind

    @property
    def names(self) -> tuple[str, ...]:
        """Those of every kind that are finished, in alphabetical order: they have a card."""
        if not self.folder.is_dir():
            return ()
        found = (path.name for path in self.folder.iterdir() if (path / CARD).is_file())
        return tuple(sorted(name for name in found if not name.startswith(UNFINISHED)))

    @property
    def unfinished(self) -> Path:
        """Where an adapter of this kind is made."""
        return self.folder / (UNFINISHED if self.kind == LANGUAGE else f"{UNFINISHED}-{self.kind}")

    @property
    def current(self) -> Path | None:
        """The adapter of this kind in use; None for the model as it came, or no network."""
        name = self._pointer()[0]
        return None if name is None else self.folder / name

    def path(self, name: str) -> Path:
        """The folder of an adapter to be; raises ShelfError for a name that cannot be one, or that is taken."""
        if not NAME.fullmatch(name) or name.startswith(UNFINISHED):
            raise ShelfError(f"adapter: expected a name of letters, digits, _ . - (64 at most), found {name[:80]!r}")
        if (self.folder / name).exists():
            raise ShelfError(f"adapter {name}: expected a new name, found one on the shelf: choose another with --name")
        return self.folder / name

    def card(self, name: str) -> dict[str, Any]:
        """What stands on the card of an adapter; raises ShelfError where there is none that can be read."""
        if name not in self.names:
            known = ", ".join(self.names) or "none"
            raise ShelfError(f"adapter {name[:80]!r}: expected one on the shelf ({known})")
        try:
            found = json.loads((self.folder / name / CARD).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ShelfError(f"adapter {name}: expected a {CARD} that can be read, found {error}") from None
        if not isinstance(found, dict):
            raise ShelfError(f"adapter {name}: expected a JSON object in {CARD}, found {type(found).__name__}")
        return found

    def kind_of(self, name: str) -> str:
        """Of which kind an adapter is; raises ShelfError as `card` does."""
        return str(self.card(name).get("kind", LANGUAGE))

    def promote(self, name: str) -> None:
        """From now on this one is used; raises ShelfError if it is not on the shelf, or of another kind."""
        if (found := self.kind_of(name)) != self.kind:
            raise ShelfError(f"adapter {name}: expected one of the kind {self.kind}, found {found}")
        current, before = self._pointer()
        if current != name:
            self._point(name, [*before, current])

    def roll_back(self) -> str | None:
        """The one before is used again; its name, None for the model as it came. Raises ShelfError where there is none."""
        _, before = self._pointer()
        if not before:
            raise ShelfError("roll-back: expected an adapter that was promoted, found none in use")
        *rest, name = before
        if name is not None and name not in self.names:
            raise ShelfError(
                f"roll-back: expected adapter {name}, which was in use before, found it gone from the shelf"
            )
        self._point(name, rest)
        return name

    @property
    def _place(self) -> Path:
        return self.folder / ("current.json" if self.kind == LANGUAGE else f"current-{self.kind}.json")

    def _pointer(self) -> tuple[str | None, list[str | None]]:
        try:
            found = json.loads((self._place).read_text(encoding="utf-8"))
            name, before = found["adapter"], found["before"]
        except FileNotFoundError:
            return None, []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ShelfError(
                f"{self._place}: expected which adapter is in use, found a damaged file ({error}). "
                "Remove it, and none is in use"
            ) from None
        if not (name is None or isinstance(name, str)) or not isinstance(before, list):
            raise ShelfError(f"{self._place}: expected a name and those before, found {found!r:.80}")
        return name, before

    def _point(self, name: str | None, before: list[str | None]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = self.folder / f"{self._place.name}.new"
        with fresh.open("w", encoding="utf-8") as file:
            json.dump({"adapter": name, "before": before[-REMEMBERED:]}, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._place)
