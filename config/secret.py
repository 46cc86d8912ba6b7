"""What is the secret? Read from where the configuration says it lies, and never shown."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from config.errors import SecretError
from config.schema import resolve

if TYPE_CHECKING:
    from pathlib import Path

    from config.load import Loaded
    from config.schema import Secret

__all__ = ["Redacted", "reveal"]

MAX_BYTES = 64 * 1024


class Redacted(str):
    """A secret as text: what it is sent to takes it as such, but a repr, and so a log of objects or a traceback, hides it."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Says that it is one, and not how long."""
        return "<secret>"


def reveal(secret: Secret | None, loaded: Loaded, *key: str) -> Redacted | None:
    """The secret's text without its last line end, or None where none is configured; raises SecretError.

    `key` is the path of the setting, for the message.
    """
    if secret is None:
        return None
    if secret.env is not None:
        text = _variable(secret.env, loaded, key)
    elif secret.credential is not None:
        text = _credential(secret.credential, loaded, key)
    else:
        text = _file(resolve(secret.file or "", loaded.folder), loaded, key)
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise _error(loaded, key, "expected a secret", "an empty text")
    return Redacted(text)


def _variable(name: str, loaded: Loaded, key: tuple[str, ...]) -> str:
    expected = f"expected the environment variable {name}"
    text = os.environ.get(name)
    if text is None:
        hint = "Set it where the service starts, or use {credential: NAME} or {file: PATH}."
        raise _error(loaded, key, expected, "none of that name", hint)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _error(loaded, key, f"{expected} to be UTF-8", "another encoding") from None
    return text


def _credential(name: str, loaded: Loaded, key: tuple[str, ...]) -> str:
    """From the folder that systemd made for this process; outside of the unit from the one that the unit takes it from."""
    given = os.environ.get("CREDENTIALS_DIRECTORY")
    folder = resolve(given or "credentials", loaded.folder)
    source = (loaded.folder / "credentials" / name).absolute()
    hint = f"Write it to {source} (mode 0600), with LoadCredential={name}:{source} in the unit; by hand call givre by root."
    expected = f"expected the systemd credential {name}"
    if "/" in name or name in {"", ".", ".."}:
        raise _error(loaded, key, "expected the name of a credential", repr(name), hint)
    try:
        text, mode = _read(folder / name)
    except (OSError, ValueError) as error:
        found = f"none that can be read in {folder} ({getattr(error, 'strerror', None) or error})"
        raise _error(loaded, key, expected, found, hint) from None
    if not given:  # systemd itself decides who reads what it hands out
        _refuse_open(folder / name, mode, loaded, key)
    return text


def _file(path: Path, loaded: Loaded, key: tuple[str, ...]) -> str:
    try:
        text, mode = _read(path)
    except (OSError, ValueError) as error:
        hint = f"Write it there and chmod 600 {path}, or use {{credential: NAME}} or {{env: NAME}}."
        found = getattr(error, "strerror", None) or str(error)
        raise _error(loaded, key, f"expected a secret in {path}", found, hint) from None
    _refuse_open(path, mode, loaded, key)
    return text


def _refuse_open(path: Path, mode: int, loaded: Loaded, key: tuple[str, ...]) -> None:
    if mode & 0o077:
        expected = f"expected {path} to be readable by its owner alone"
        raise _error(loaded, key, expected, f"mode {mode:04o}", f"chmod 600 {path}")


def _read(path: Path) -> tuple[str, int]:
    """The text and the mode of a small file; raises OSError, or ValueError that does not quote the content."""
    # Not blocking: a pipe that nobody writes to would hold the start up for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise ValueError("no regular file")
        data = os.read(descriptor, MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes")
    try:
        return data.decode(), stat.S_IMODE(mode)
    except UnicodeDecodeError:
        raise ValueError("another encoding than UTF-8") from None


def _error(loaded: Loaded, key: tuple[str, ...], expected: str, found: str, hint: str = "") -> SecretError:
    return SecretError([loaded.problem(*key, expected=expected, found=found, hint=hint)])
