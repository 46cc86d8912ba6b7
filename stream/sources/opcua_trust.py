"""Which servers do we trust? The folder of their certificates, and the one beside it of those that were refused.

A certificate is named by its thumbprint (SHA-1 of its DER form, as OPC UA has it, part 6, 6.2.2): a person compares that with
what the server shows. Beyond that nothing is decided here: a certificate that is trusted must still be valid.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncua import Client, ua
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from stream.sources.opcua_node import why
from stream.sources.opcua_security import SUFFIXES, thumbprint

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

__all__ = ["Stranger", "TrustError", "accept", "known", "offered", "withdraw"]

PATIENCE_S = 10.0
LEAST = 8
"""Hexadecimal digits of a thumbprint that must be given: fewer are soon another's."""


class TrustError(Exception):
    """A certificate that is not there, or cannot be kept: subject, what was expected, what was found, what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """One certificate: whose it says it is, until when, and where it lies (None: the server has just shown it)."""

    thumbprint: str
    subject: str
    uris: tuple[str, ...]
    begins_at: datetime
    ends_at: datetime
    der: bytes
    path: Path | None


def known(folder: Path) -> list[Stranger]:
    """The certificates in a folder; what is none, or cannot be read, is passed over."""
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix.lower() in SUFFIXES:
            try:
                found.append(_stranger(path.read_bytes(), path))
            except (OSError, ValueError):
                continue
    return found


async def offered(endpoint: str) -> list[Stranger]:
    """The certificates that a server shows to anybody who asks. Raises TrustError where it does not answer."""
    client = Client(endpoint, timeout=PATIENCE_S)
    try:
        async with asyncio.timeout(PATIENCE_S):
            endpoints = await client.connect_and_get_server_endpoints()
    except (ua.UaError, OSError, TimeoutError, ValueError) as error:
        raise TrustError(
            f"{endpoint}: expected an OPC UA server that shows its certificate, found: {why(error)}"
        ) from None
    shown = {bytes(one.ServerCertificate) for one in endpoints if one.ServerCertificate}
    try:
        return [_stranger(der, None) for der in sorted(shown)]
    except ValueError as error:
        raise TrustError(f"{endpoint}: expected a certificate, found something else ({error})") from None


def accept(folder: Path, candidates: list[Stranger], start: str) -> Stranger:
    """Puts the one certificate whose thumbprint begins so among the trusted; raises TrustError where it is not just one."""
    chosen = _chosen(candidates, start)
    place = folder / f"{chosen.thumbprint}.der"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: the running service may look at any moment. It is public, and the service is another user.
        whole = place.with_suffix(".new")
        whole.write_bytes(chosen.der)
        whole.chmod(0o644)
        whole.replace(place)
        (folder.parent / "rejected" / place.name).unlink(missing_ok=True)
    except OSError as error:
        raise TrustError(
            f"{place}: expected a folder that can be written, found: {error.strerror}. Call it as root"
        ) from None
    return chosen


def withdraw(folder: Path, start: str) -> Stranger:
    """Takes a certificate away from the trusted, and keeps it among the refused; raises TrustError where it is not just one."""
    trusted = known(folder)
    chosen = _chosen(trusted, start)
    refused = folder.parent / "rejected"
    try:
        refused.mkdir(exist_ok=True)
        (refused / f"{chosen.thumbprint}.der").write_bytes(chosen.der)
        for one in trusted:  # the same certificate may lie there under several names
            if one.path is not None and one.thumbprint == chosen.thumbprint:
                one.path.unlink()
    except OSError as error:
        raise TrustError(
            f"{refused}: expected a folder that can be written, found: {error.strerror}. Call it as root"
        ) from None
    return chosen


def _chosen(candidates: list[Stranger], start: str) -> Stranger:
    wanted = start.replace(":", "").replace(" ", "").upper()
    if len(wanted) < LEAST or set(wanted) - set("0123456789ABCDEF"):
        raise TrustError(f"thumbprint: expected at least {LEAST} hexadecimal digits of it, found {start!r:.80}")
    found = {one.thumbprint: one for one in candidates if one.thumbprint.startswith(wanted)}
    if len(found) != 1:
        there = ", ".join(sorted({one.thumbprint for one in candidates})) or "none"
        raise TrustError(f"thumbprint {wanted}: expected that of one certificate, found {len(found)} among: {there}")
    return next(iter(found.values()))


def _stranger(data: bytes, path: Path | None) -> Stranger:
    pem = data.lstrip().startswith(b"-----")
    certificate = (x509.load_pem_x509_certificate if pem else x509.load_der_x509_certificate)(data)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = (
            *names.get_values_for_type(x509.UniformResourceIdentifier),
            *names.get_values_for_type(x509.DNSName),
            *map(str, names.get_values_for_type(x509.IPAddress)),
        )
    except x509.ExtensionNotFound:
        uris = ()
    return Stranger(
        thumbprint=thumbprint(certificate),
        subject=certificate.subject.rfc4514_string(),
        uris=tuple(uris),
        begins_at=certificate.not_valid_before_utc,
        ends_at=certificate.not_valid_after_utc,
        der=certificate.public_bytes(serialization.Encoding.DER),
        path=path,
    )
