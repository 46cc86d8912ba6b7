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
from cryptography.x509.verification import Store, VerificationError

if TYPE_CHECKING:
    from pathlib import Path

    from asyncua import Client

__all__ = ["SUFFIXES", "UaSecurity", "UaSecurityError", "secure", "thumbprint", "thumbprint_of"]

POLICIES = {"Basic256Sha256": SecurityPolicyBasic256Sha256, "Aes256Sha256RsaPss": SecurityPolicyAes256Sha256RsaPss}
MEANING = {
    "BadCertificateUntrusted": "it is not among the trusted ones",
    "BadCertificateTimeInvalid": "it is expired, or not valid yet",
    "BadCertificateUriInvalid": "its application URI is not the one that the server gives",
    "BadCertificateRevoked": "it is revoked",
    "BadCertificateUseNotAllowed": "it may not be used for a server",
    "BadCertificateInvalid": "it lacks what an application certificate must say",
}
SUFFIXES = {".der", ".pem", ".crt", ".cer"}
"""Of the files in the folder of the trusted; others may lie there."""
KEEP = 50
"""Refused certificates kept; a stranger with ever new ones must not fill the disk."""


class UaSecurityError(Exception):
    """The connection was refused for its security; the text says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UaSecurity:
    """Our own certificate and key (PEM or DER, told apart by their content), and the folder of the certificates that we trust.

    A folder ``crl`` beside the trusted ones may hold revocation lists (PEM or DER as well).
    """

    policy: Literal["Basic256Sha256", "Aes256Sha256RsaPss"]
    certificate: Path
    private_key: Path
    trust: Path


async def secure(client: Client, security: UaSecurity) -> None:
    """Prepares a client, before it connects; raises UaSecurityError for files that cannot be used."""
    own = _certificate(security.certificate, "certificate")
    client.application_uri = _application_uri(own, security.certificate)
    _check_key(security.private_key, own)
    store = _trust_store(security.trust)
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
            certificate=_properties(security.certificate, "certificate"),
            private_key=_properties(security.private_key, "private_key"),
            mode=ua.MessageSecurityMode.SignAndEncrypt,
        )
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
    return thumbprint(_certificate(certificate, "certificate"))


class _Trust(TrustStore):  # type: ignore[misc]  # asyncua is read without its types
    """Certificates and revocation lists, read by their content: asyncua's own reading passes over ``.crl`` and ``.crt``."""

    def __init__(self, certificates: list[x509.Certificate], lists: list[x509.CertificateRevocationList]) -> None:
        super().__init__([], [])
        self._verifier = None
        if certificates:  # there is no verifier that trusts nobody
            self._verifier = self.policy_builder.store(Store(certificates)).build_client_verifier()
        self._lists = lists

    def is_trusted(self, certificate: x509.Certificate) -> bool:
        try:
            return self._verifier is not None and bool(self._verifier.verify(certificate, []))
        except VerificationError:
            return False

    def is_revoked(self, certificate: x509.Certificate) -> bool:
        number = certificate.serial_number
        mine = [one for one in self._lists if one.issuer == certificate.issuer]
        return any(one.get_revoked_certificate_by_serial_number(number) is not None for one in mine)


def _trust_store(folder: Path) -> _Trust:
    """What is in the folder, and the revocation lists beside it: of those each file counts, whatever it is called."""
    if not folder.is_dir():
        raise UaSecurityError(f"trust: expected a folder of trusted certificates at {folder}, found none: make it")
    trusted = [_certificate(path, "trust") for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES]
    lists = folder.parent / "crl"
    paths = sorted(lists.iterdir()) if lists.is_dir() else []
    return _Trust(trusted, [_revocations(path) for path in paths if not path.name.startswith(".")])


def _revocations(path: Path) -> x509.CertificateRevocationList:
    data = _read(path, "trust")
    try:
        return (x509.load_pem_x509_crl if _is_pem(data) else x509.load_der_x509_crl)(data)
    except ValueError:
        raise UaSecurityError(f"trust: expected a revocation list at {path}, found something else") from None


def _certificate(path: Path, key: str) -> x509.Certificate:
    data = _read(path, key)
    try:
        return (x509.load_pem_x509_certificate if _is_pem(data) else x509.load_der_x509_certificate)(data)
    except ValueError:
        raise UaSecurityError(f"{key}: expected a certificate at {path}, found something else") from None


def _check_key(path: Path, own: x509.Certificate) -> None:
    data = _read(path, "private_key")
    load = serialization.load_pem_private_key if _is_pem(data) else serialization.load_der_private_key
    try:
        public = load(data, password=None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UaSecurityError(
            f"private_key: expected a key without a password (PEM or DER) at {path}, found something else"
        ) from None
    if public != own.public_key():
        raise UaSecurityError(f"private_key: the key at {path} does not belong to the certificate {thumbprint(own)}")


def _properties(path: Path, key: str) -> CertProperties:
    data = _read(path, key)
    return CertProperties(data, extension="pem" if _is_pem(data) else "der")


def _read(path: Path, key: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UaSecurityError(f"{key}: expected a file at {path}, found: {error.strerror}") from None


def _is_pem(data: bytes) -> bool:
    return data.lstrip().startswith(b"-----")


def _application_uri(certificate: x509.Certificate, path: Path) -> str:
    """The application URI that our certificate stands for; a server compares it with what the client says."""
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
    mark = thumbprint(certificate)
    kept = _keep(certificate, trust.parent / "rejected" / f"{mark}.der")
    subject = certificate.subject.rfc4514_string()[:200]
    advice = ""
    if name == "BadCertificateUntrusted":
        move = f"move {kept} to {trust}" if kept else f"put it into {trust}"
        advice = (
            f". Compare the thumbprint at the server; if it is the same, call `givre trust CONFIG {mark}`, or {move}"
        )
    elif kept:
        advice = f". It is kept as {kept}"
    return UaSecurityError(
        f"the server's certificate {mark} ({subject!r}) was refused: {name}, {MEANING.get(name, 'not usable')}{advice}"
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


def thumbprint(certificate: x509.Certificate) -> str:
    """SHA-1 of the DER form: the name of a certificate in OPC UA, and no proof of anything by itself."""
    return certificate.fingerprint(hashes.SHA1()).hex().upper()  # noqa: S303 - the standard's own thumbprint
