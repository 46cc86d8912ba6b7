"""Where is a broker, who are we to it, and how do we speak with it?"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Address", "Tls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """What secures a connection: PEM files. Always TLS 1.2 or newer, and the host name is always checked."""

    ca: str | None = None
    certificate: str | None = None
    private_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a broker is, who we are to it, and how we speak with it. `protocol` is ``5`` or ``3.1.1``."""

    host: str
    port: int
    protocol: str
    client_id: str
    keepalive_s: int
    tls: Tls | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.protocol not in ("5", "3.1.1"):
            raise ValueError(f'protocol: expected "5" or "3.1.1", found {self.protocol!r}')

    def __str__(self) -> str:
        return f"broker {self.host}:{self.port}"
