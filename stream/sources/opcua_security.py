"""Is this server the one that we trust? Always sign and encrypt, and only with a server whose certificate is in the folder.

Signing and encrypting alone authenticate nobody: any stranger has a certificate of its own. What is refused is stored beside
the trusted ones, under ``rejected/``, for a person to compare its thumbprint and move it over.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from asyncua import ua
from asyncua.crypto.security_policies import SecurityPolicyAes256Sha256RsaPss, SecurityPolicyBasic256Sha256
from asyncua.crypto.truststore import TrustStore
from asyncua.crypto.uacrypto import CertProperties
from asyncua.crypto.validator import CertificateValidator, CertificateValidatorOptions
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization

if TYPE_CHECKING:
    from pathlib import Path

    from asyncua import Client

__all__ = ["UaSecurity", "UaSecurityError", "secure", "thumbprint_of"]

POLICIES = {"Basic256Sha256": SecurityPolicyBasic256Sha256, "Aes256Sha256RsaPss": SecurityPolicyAes256Sha256RsaPss}
MEANING = {
    "BadCertificateUntrusted": "it is not among the trusted ones",
    "BadCertificateTimeInvalid": "it is expired, or not valid yet",
    "BadCertificateUriInvalid": "its application URI is not the one that the server gives",
    "BadCertificateRevoked": "it is revoked",
    "BadCertificateUseNotAllowed": "it may not be used for a server",
    "BadCertificateInvalid": "it lacks what an application certificate must say",
}


KEEP = 50
"""Refused certificates kept; a stranger with ever new ones must not fill the disk."""


class UaSecurityError(Exception):
    """The connection was refused for its security; the text says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UaSecurity:
    """Our own certificate and key (PEM or DER, told apart by their content), and the folder of the certificates that we trust.

    A folder ``crl`` beside the trusted ones may hold revocation lists.
    """

    policy: Literal["Basic256Sha256", "Aes256Sha256RsaPss"]
    certificate: Path
    private_key: Path
    trust: Path


async def secure(client: Client, security: UaSecurity) -> None:
    """Prepares a client, before it connects; raises UaSecurityError for files that cannot be used."""
    client.application_uri = _application_uri(security.certificate)
    try:
        store, empty = _trusted(security.trust)
        if not empty:  # asyncua raises for a store without certificates; ours just trusts nobody yet
            await store.load_trust()
        await store.load_crl()
    except (ValueError, OSError) as error:
        raise UaSecurityError(
            f"trust: a file in {security.trust}, or in crl/ beside it, cannot be read ({str(error)[:120]!r})"
        ) from None
    options = CertificateValidatorOptions.TRUSTED_VALIDATION | CertificateValidatorOptions.PEER_SERVER
    validator = CertificateValidator(options, store)

    async def check(certificate: x509.Certificate, description: ua.ApplicationDescription) -> None:
        try:
            await validator.validate(certificate, description)
        except (ua.UaError, x509.ExtensionNotFound) as error:
            raise _refused(certificate, security.trust, error) from None

    client.certificate_validator = check
    try:
        await client.set_security(
            POLICIES[security.policy],
            certificate=_file(security.certificate, "certificate"),
            private_key=_file(security.private_key, "private_key"),
            mode=ua.MessageSecurityMode.SignAndEncrypt,
        )
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UaSecurityError(
            f"private_key: expected a key without a password (PEM or DER) at {security.private_key}, found something else"
        ) from None
    except ua.UaError as error:
        if "No matching endpoints" not in str(error):
            raise
        offered = {
            f"{e.SecurityPolicyUri.rpartition('#')[2]} {e.SecurityMode.name}"
            for e in await client.connect_and_get_server_endpoints()
        }
        raise UaSecurityError(
            f"{client.server_url.geturl()} does not offer {security.policy} SignAndEncrypt; "
            f"it offers: {', '.join(sorted(offered))[:300]}; allow it there, or change `policy`"
        ) from None


def thumbprint_of(certificate: Path) -> str:
    """Thumbprint of a certificate's file as OPC UA tools show it; raises UaSecurityError."""
    return _thumbprint(_load(certificate))


def _trusted(folder: Path) -> tuple[TrustStore, bool]:
    """The store of the folder, not loaded yet, and whether nothing is in it."""
    if not folder.is_dir():
        raise UaSecurityError(f"trust: expected a folder of trusted certificates at {folder}, found none: make it")
    lists = folder.parent / "crl"
    empty = not any(path.suffix.lower() in {".der", ".pem"} for path in folder.iterdir())
    return TrustStore([folder], [lists] if lists.is_dir() else []), empty


def _load(path: Path) -> x509.Certificate:
    file = _file(path, "certificate")
    load = x509.load_pem_x509_certificate if file.extension == "pem" else x509.load_der_x509_certificate
    try:
        return load(file.path_or_content)
    except ValueError:
        raise UaSecurityError(f"certificate: expected one at {path}, found something else") from None


def _file(path: Path, key: str) -> CertProperties:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UaSecurityError(f"{key}: expected a file at {path}, found: {error.strerror}") from None
    return CertProperties(data, extension="pem" if data.startswith(b"-----") else "der")


def _application_uri(path: Path) -> str:
    """The application URI that our certificate stands for; a server compares it with what the client says."""
    certificate = _load(path)
    now = datetime.now(UTC)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise UaSecurityError(
            f"certificate {path} is valid from {certificate.not_valid_before_utc:%Y-%m-%d} "
            f"to {certificate.not_valid_after_utc:%Y-%m-%d}, not today: renew it"
        )
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return str(names.get_values_for_type(x509.UniformResourceIdentifier)[0])
    except (ValueError, IndexError, x509.ExtensionNotFound):
        raise UaSecurityError(
            f"certificate {path}: expected an application certificate with its URI as subject alternative name, found none"
        ) from None


def _refused(certificate: x509.Certificate, trust: Path, error: Exception) -> UaSecurityError:
    code = getattr(error, "code", None)
    name = ua.StatusCode(code).name if isinstance(code, int) else type(error).__name__
    thumbprint = _thumbprint(certificate)
    kept = _keep(certificate, trust.parent / "rejected" / f"{thumbprint}.der")
    subject = certificate.subject.rfc4514_string()[:200]
    advice = ""
    if name == "BadCertificateUntrusted":
        move = f"move {kept} to {trust}" if kept else f"put it into {trust}"
        advice = f". Compare the thumbprint at the server; if it is the same, {move}"
    elif kept:
        advice = f". It is kept as {kept}"
    return UaSecurityError(
        f"the server's certificate {thumbprint} ({subject!r}) was refused: {name}, {MEANING.get(name, 'not usable')}{advice}"
    )


def _keep(certificate: x509.Certificate, path: Path) -> str:
    """Stores a certificate for a person to look at; returns where, or nothing."""
    try:
        path.parent.mkdir(exist_ok=True)
        if not path.exists() and sum(1 for _ in path.parent.glob("*.der")) >= KEEP:
            return ""
        path.write_bytes(certificate.public_bytes(serialization.Encoding.DER))
    except OSError:  # a hardened service may only read there
        return ""
    return str(path)


def _thumbprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA1()).hex().upper()  # noqa: S303 - the standard's own thumbprint
