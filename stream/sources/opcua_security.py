"""Is this server the one that we trust? Always sign and encrypt, and only with a server whose certificate is in the folder.

Signing and encrypting alone authenticate nobody: any stranger has a certificate of its own. What is refused is stored beside
the trusted ones, under ``rejected/``, for a person to compare its thumbprint and move it over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.security_policies import SecurityPolicyAes256Sha256RsaPss, SecurityPolicyBasic256Sha256
from asyncua.crypto.truststore import TrustStore
from asyncua.crypto.validator import CertificateValidator, CertificateValidatorOptions
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

if TYPE_CHECKING:
    from pathlib import Path

    from asyncua import Client

__all__ = ["UaSecurity", "UaSecurityError", "secure"]

POLICIES = {"Basic256Sha256": SecurityPolicyBasic256Sha256, "Aes256Sha256RsaPss": SecurityPolicyAes256Sha256RsaPss}
MEANING = {
    "BadCertificateUntrusted": "it is not among the trusted ones",
    "BadCertificateTimeInvalid": "it is expired, or not valid yet",
    "BadCertificateUriInvalid": "its application URI is not the one that the server gives",
    "BadCertificateRevoked": "it is revoked",
    "BadCertificateUseNotAllowed": "it may not be used for a server",
}


class UaSecurityError(Exception):
    """The connection was refused for its security; the text says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UaSecurity:
    """Our own certificate and key (PEM or DER), and the folder of the certificates that we trust."""

    policy: Literal["Basic256Sha256", "Aes256Sha256RsaPss"]
    certificate: Path
    private_key: Path
    trust: Path


async def secure(client: Client, security: UaSecurity) -> None:
    """Prepares a client, before it connects; raises UaSecurityError for files that cannot be used."""
    client.application_uri = _application_uri(security.certificate)
    if not security.private_key.is_file():
        raise UaSecurityError(f"private_key: expected a key at {security.private_key}, found none")
    if not security.trust.is_dir():
        raise UaSecurityError(
            f"trust: expected a folder of trusted certificates at {security.trust}, found none: make it"
        )
    store = TrustStore([security.trust], [])
    await store.load()
    options = CertificateValidatorOptions.TRUSTED_VALIDATION | CertificateValidatorOptions.PEER_SERVER
    validator = CertificateValidator(options, store)

    async def check(certificate: x509.Certificate, description: ua.ApplicationDescription) -> None:
        try:
            await validator.validate(certificate, description)
        except (ServiceError, ua.UaError, x509.ExtensionNotFound) as error:
            raise _refused(certificate, security.trust, error) from None

    client.certificate_validator = check
    try:
        await client.set_security(
            POLICIES[security.policy],
            certificate=security.certificate,
            private_key=security.private_key,
            mode=ua.MessageSecurityMode.SignAndEncrypt,
        )
    except ua.UaError as error:
        if "No matching endpoints" in str(error):
            raise UaSecurityError(f"the server does not offer {security.policy} with SignAndEncrypt: {error}") from None
        raise


def _application_uri(path: Path) -> str:
    """The application URI that our certificate stands for; a server compares it with what the client says."""
    try:
        data = path.read_bytes()
        load = x509.load_pem_x509_certificate if data.startswith(b"-----") else x509.load_der_x509_certificate
        names = load(data).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return str(names.get_values_for_type(x509.UniformResourceIdentifier)[0])
    except OSError as error:
        raise UaSecurityError(f"certificate: expected one at {path}, found: {error.strerror}") from None
    except (ValueError, IndexError, x509.ExtensionNotFound):
        raise UaSecurityError(
            f"certificate {path}: expected an application certificate with its URI as subject alternative name, found none"
        ) from None


def _refused(certificate: x509.Certificate, trust: Path, error: Exception) -> UaSecurityError:
    code = getattr(error, "code", None)
    name = ua.StatusCode(code).name if isinstance(code, int) else type(error).__name__
    thumbprint = certificate.fingerprint(hashes.SHA1()).hex().upper()  # noqa: S303 - the standard's own thumbprint
    rejected = trust.parent / "rejected"
    kept = ""
    try:
        rejected.mkdir(exist_ok=True)
        path = rejected / f"{thumbprint}.der"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.DER))
        kept = f"It is kept as {path}: compare the thumbprint at the server, then move it to {trust}."
    except OSError:
        pass
    subject = certificate.subject.rfc4514_string()[:200]
    meaning = MEANING.get(name, name)
    return UaSecurityError(
        f"the server's certificate {thumbprint} ({subject!r}) was refused: {meaning}. {kept}".rstrip()
    )
