"""Which adapters are there, and which one is in use? A folder with one folder for each, and a pointer beside them.

The running service looks at the pointer between its turns, so that a promotion or a roll-back needs no restart. The pointer is a
small file that appears whole, by a rename.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from detectors.language.adapter import CARD

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Shelf", "ShelfError"]

POINTER = "current.json"
UNFINISHED = "unfinished"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
REMEMBERED = 20
"""Adapters that can be rolled back to."""


class ShelfError(Exception):
    """An adapter that is not there, or cannot be used: subject, what was expected, what was found, what to do."""


class Shelf:
    """The adapters in a folder, which need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are finished, in alphabetical order: they have a card."""
        if not self.folder.is_dir():
            return ()
        found = (path.name for path in self.folder.iterdir() if (path / CARD).is_file() and path.name != UNFINISHED)
        return tuple(sorted(found))

    @property
    def unfinished(self) -> Path:
        """Where an adapter is made."""
        return self.folder / UNFINISHED

    @property
    def current(self) -> Path | None:
        """The adapter in use; None for the model as it came."""
        name = self._pointer()[0]
        return None if name is None else self.folder / name

    def path(self, name: str) -> Path:
        """The folder of an adapter to be; raises ShelfError for a name that cannot be one, or that is taken."""
        if not NAME.fullmatch(name) or name == UNFINISHED:
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

    def promote(self, name: str) -> None:
        """From now on this one is used; raises ShelfError if it is not on the shelf."""
        self.card(name)
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

    def _pointer(self) -> tuple[str | None, list[str | None]]:
        try:
            found = json.loads((self.folder / POINTER).read_text(encoding="utf-8"))
            name, before = found["adapter"], found["before"]
        except FileNotFoundError:
            return None, []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ShelfError(
                f"{self.folder / POINTER}: expected which adapter is in use, found a damaged file ({error}). "
                "Remove it to use the model as it came"
            ) from None
        if not (name is None or isinstance(name, str)) or not isinstance(before, list):
            raise ShelfError(f"{self.folder / POINTER}: expected a name and those before, found {found!r:.80}")
        return name, before

    def _point(self, name: str | None, before: list[str | None]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = self.folder / f"{POINTER}.new"
        with fresh.open("w", encoding="utf-8") as file:
            json.dump({"adapter": name, "before": before[-REMEMBERED:]}, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.folder / POINTER)
