"""What is the secret? Read from where the configuration says it lies, and never shown."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from config.errors import Problem, SecretError
from config.schema import resolve

if TYPE_CHECKING:
    from pathlib import Path

    from config.load import Loaded
    from config.schema import Secret

__all__ = ["reveal"]


def reveal(secret: Secret | None, loaded: Loaded, *key: str) -> str | None:
    """The secret's text without its last line end, or None where none is configured; raises SecretError.

    `key` is the path of the setting, for the message.
    """
    if secret is None:
        return None
    if secret.env is not None:
        text = os.environ.get(secret.env)
        if text is None:
            raise _error(loaded, key, f"expected the environment variable {secret.env}", "none of that name")
    elif secret.credential is not None:
        text = _credential(secret.credential, loaded, key)
    else:
        text = _file(resolve(secret.file or "", loaded.folder), loaded, key)
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise _error(loaded, key, "expected a secret", "an empty text")
    return text


def _credential(name: str, loaded: Loaded, key: tuple[str, ...]) -> str:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    hint = f"In the systemd unit: LoadCredential={name}:/etc/givre/credentials/{name}. Elsewhere use {{env: NAME}} or {{file: PATH}}."
    if folder is None:
        raise _error(loaded, key, f"expected the systemd credential {name}", "no credentials in this process", hint)
    if "/" in name or name in ("", ".", ".."):
        raise _error(loaded, key, "expected the name of a credential", repr(name), hint)
    try:
        return resolve(folder, loaded.folder).joinpath(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise _error(loaded, key, f"expected the systemd credential {name}", "none that can be read", hint) from None


def _file(path: Path, loaded: Loaded, key: tuple[str, ...]) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                expected = f"expected {path} to be readable by its owner alone"
                raise _error(loaded, key, expected, f"mode {mode:04o}", f"chmod 600 {path}")
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        found = getattr(error, "strerror", None) or "not UTF-8"
        raise _error(loaded, key, f"expected a secret in {path}", found) from None


def _error(loaded: Loaded, key: tuple[str, ...], expected: str, found: str, hint: str = "") -> SecretError:
    problem = Problem(
        file=str(loaded.path), line=loaded.line(*key), key=".".join(key), expected=expected, found=found, hint=hint
    )
    return SecretError([problem])
