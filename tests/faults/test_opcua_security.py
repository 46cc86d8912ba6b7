"""Who may be trusted over OPC UA: certificates, policies and passwords, with a real server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from asyncua.crypto.cert_gen import (
    dump_private_key_as_pem,
    generate_app_certificate_signing_request,
    generate_private_key,
    generate_self_signed_app_certificate,
    sign_certificate_request,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from stream.clock import SystemClock
from stream.sources import opcua_security
from stream.sources.opcua import OpcuaSource, UaSecurity, UaTag

POLICY = "Basic256Sha256"


@pytest.fixture
def trusted(tmp_path, identities):
    """The folder of the certificates that we trust, with the server's in it."""
    folder = tmp_path / "pki" / "trusted"
    folder.mkdir(parents=True)
    shutil.copy(identities["server"].certificate, folder)
    return folder


@pytest.fixture
def guests(tmp_path, identities):
    """The folder of the certificates that the server trusts, with ours in it."""
    folder = tmp_path / "guests"
    folder.mkdir()
    shutil.copy(identities["client"].certificate, folder)
    return folder


def make(server, trusted, us, *, policy=POLICY, **changes) -> OpcuaSource:
    settings = {
        "name": "plc",
        "endpoint": server.endpoint,
        "namespace": server.namespace,
        "tags": [UaTag(tag="x/a", node="s=x/a")],
        "publishing_interval_s": 0.05,
        "sampling_interval_s": 0.05,
        "queue_size": 10,
        "silent_after_s": 2.0,
        "security": UaSecurity(policy=policy, certificate=us.certificate, private_key=us.key, trust=trusted),
        "username": None,
        "password": None,
        "clock": SystemClock(),
    }
    return OpcuaSource(**settings | changes)


def secured(identity, *more: str, policy=POLICY) -> list[str]:
    return [
        "--node=x/a",
        f"--policy={policy}",
        f"--certificate={identity.certificate}",
        f"--key={identity.key}",
        *more,
    ]


@contextlib.asynccontextmanager
async def running(source, intake):
    task = asyncio.create_task(source.run(intake))
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize("policy", ["Basic256Sha256", "Aes256Sha256RsaPss"])
async def test_a_trusted_server_is_followed(ua_server, intake, identities, trusted, policy):
    ua_server.start(*secured(identities["server"], policy=policy))
    ua_server.tell(write="x/a", value=5.25, type="Double")
    async with running(make(ua_server, trusted, identities["client"], policy=policy), intake):
        await intake.until(lambda: intake.values == [5.25])
    assert [status.ok for status in intake.statuses] == [True]
    assert not (trusted.parent / "rejected").exists()


async def test_a_stranger_is_refused_kept_and_followed_once_a_person_has_moved_it(
    ua_server, intake, identities, trusted, guests
):
    stranger = identities["stranger"]
    ua_server.start(*secured(stranger, f"--uri={stranger.uri}", f"--trust={guests}"))
    ua_server.tell(write="x/a", value=5.25, type="Double")
    kept = trusted.parent / "rejected" / f"{stranger.thumbprint}.der"
    async with running(make(ua_server, trusted, identities["client"]), intake):
        await intake.until(lambda: intake.statuses)
        (status,) = intake.statuses
        assert not status.ok
        for words in (stranger.thumbprint, "BadCertificateUntrusted", str(kept), str(trusted)):
            assert words in status.detail
        assert kept.read_bytes() == stranger.certificate.read_bytes()
        assert intake.samples == []
        kept.rename(trusted / kept.name)
        await intake.until(lambda: intake.values == [5.25])


CONFIG = """\
site: demo
sources:
  plc:
    type: opcua
    endpoint: "ENDPOINT"
    namespace: urn:plant
    security: {certificate: client.der, private_key: client.key, trust: TRUST}
assets: {hx: {tags: {t: {unit: degC, period_s: 10, hold_s: 60, source: {name: plc, node: s=t}}}}}
sinks: {store: {type: influxdb, url: "http://h:8086", bucket: b}}
"""


def call_trust(folder, *arguments: str) -> str:
    """What `givre trust` prints, wherever; as a process of its own, as the test runs a loop."""
    command = [sys.executable, "-m", "stream", "trust", str(folder / "givre.yaml"), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=os.environ | {"COLUMNS": "400"}
    )
    return f"{done.returncode} {done.stdout}{done.stderr}"


async def test_a_person_looks_compares_and_trusts_from_the_command_line_and_takes_it_back(
    ua_server, intake, identities, trusted, tmp_path
):
    stranger = identities["stranger"]
    mark = stranger.thumbprint
    ua_server.start(*secured(stranger, f"--uri={stranger.uri}"))
    ua_server.tell(write="x/a", value=5.25, type="Double")
    text = CONFIG.replace("ENDPOINT", ua_server.endpoint).replace("TRUST", str(trusted))
    (tmp_path / "givre.yaml").write_text(text)
    listed = await asyncio.to_thread(call_trust, tmp_path)
    assert listed.startswith("0 plc")
    assert f"shown by the server now: {mark}" in listed
    assert f"givre trust CONFIG {mark}" in listed
    assert f"trusted: {identities['server'].thumbprint}" in listed
    assert len(list(trusted.iterdir())) == 1, "looking changes nothing"
    async with running(make(ua_server, trusted, identities["client"]), intake):
        await intake.until(lambda: intake.statuses)
        assert f"givre trust CONFIG {mark}" in intake.statuses[0].detail
        short = await asyncio.to_thread(call_trust, tmp_path, mark[:4])
        assert short.startswith("1 ") and "at least 8 hexadecimal digits" in short
        other = await asyncio.to_thread(call_trust, tmp_path, "0" * 40)
        assert other.startswith("1 ") and "found 0 among" in other and mark in other
        done = await asyncio.to_thread(call_trust, tmp_path, mark[:12].lower())
        assert done.startswith("0 ") and f"trusted from now on: {mark}" in done
        await intake.until(lambda: intake.values == [5.25])
    assert not (trusted.parent / "rejected" / f"{mark}.der").exists()
    shutil.copy(trusted / f"{mark}.der", trusted / "second.der")
    gone = await asyncio.to_thread(call_trust, tmp_path, mark, "--withdraw")
    assert f"trusted no longer: {mark}" in gone
    (sentence,) = await make(ua_server, trusted, identities["client"]).probe()
    assert "BadCertificateUntrusted" in sentence


async def test_without_a_server_what_is_in_the_folders_is_listed_and_why_there_is_no_more(
    ua_server, identities, trusted, tmp_path
):
    text = CONFIG.replace("ENDPOINT", ua_server.endpoint).replace("TRUST", str(trusted))
    (tmp_path / "givre.yaml").write_text(text)
    listed = await asyncio.to_thread(call_trust, tmp_path)
    assert "expected an OPC UA server that shows its certificate" in listed
    assert f"trusted: {identities['server'].thumbprint}" in listed
    assert "expected an OPC UA source 'other'" in await asyncio.to_thread(call_trust, tmp_path, "--source", "other")


async def test_an_empty_folder_trusts_nobody_and_the_first_certificate_is_kept(ua_server, identities, trusted):
    server = identities["server"]
    (trusted / server.certificate.name).unlink()
    ua_server.start(*secured(server))
    (sentence,) = await make(ua_server, trusted, identities["client"]).probe()
    assert "BadCertificateUntrusted" in sentence
    assert (trusted.parent / "rejected" / f"{server.thumbprint}.der").is_file()


@pytest.mark.parametrize(
    ("who", "code"), [("expired", "BadCertificateTimeInvalid"), ("alien", "BadCertificateUriInvalid")]
)
async def test_a_certificate_that_is_trusted_but_not_valid_is_refused(ua_server, identities, trusted, who, code):
    shutil.copy(identities[who].certificate, trusted)
    ua_server.start(*secured(identities[who], f"--uri=urn:test:{who}"))
    (sentence,) = await make(ua_server, trusted, identities["client"]).probe()
    assert code in sentence
    assert identities[who].thumbprint in sentence


class Authority:
    """A certificate authority that has signed a server's certificate, and can revoke it."""

    def __init__(self, folder) -> None:
        folder.mkdir()
        key = self._key = generate_private_key()
        name = {"organizationName": "test"}
        self.own = generate_self_signed_app_certificate(key, "authority", name, [], extended=[], days=1)
        server_key = generate_private_key()
        names = [x509.UniformResourceIdentifier("urn:test:server"), x509.DNSName("localhost")]
        use = [ExtendedKeyUsageOID.SERVER_AUTH]
        request = generate_app_certificate_signing_request(server_key, "server", name, names, use)
        self._signed = sign_certificate_request(request, self.own, key, days=1)
        self.certificate, self.key = folder / "server.der", folder / "server.pem"
        self.certificate.write_bytes(self._signed.public_bytes(serialization.Encoding.DER))
        self.key.write_bytes(dump_private_key_as_pem(server_key))

    def revocations(self, encoding, *, serial: int | None = None) -> bytes:
        now = datetime.now(UTC)
        revoked = x509.RevokedCertificateBuilder().serial_number(serial or self._signed.serial_number)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.own.subject)
        builder = builder.last_update(now).next_update(now + timedelta(days=1))
        builder = builder.add_revoked_certificate(revoked.revocation_date(now).build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(encoding)


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "authority")


@pytest.mark.parametrize("ending", ["der", "pem", "crt", "cer"])
async def test_a_server_whose_authority_is_trusted_is_followed(ua_server, authority, identities, trusted, ending):
    encoding = serialization.Encoding.PEM if ending in {"pem", "crt"} else serialization.Encoding.DER
    (trusted / f"authority.{ending}").write_bytes(authority.own.public_bytes(encoding))
    (trusted / "README").write_text("whom we trust\n")
    ua_server.start(*secured(authority))
    ua_server.tell(write="x/a", value=5.25, type="Double")
    assert await make(ua_server, trusted, identities["client"]).probe() == []


@pytest.mark.parametrize("ending", ["der", "pem", "crl"])
async def test_a_revoked_certificate_is_refused_whatever_its_list_is_called(
    ua_server, authority, identities, trusted, ending
):
    (trusted / "authority.der").write_bytes(authority.own.public_bytes(serialization.Encoding.DER))
    path = trusted.parent / "crl" / f"authority.{ending}"
    path.parent.mkdir()
    encoding = serialization.Encoding.PEM if ending == "pem" else serialization.Encoding.DER
    path.write_bytes(authority.revocations(encoding, serial=4711))
    ua_server.start(*secured(authority))
    ua_server.tell(write="x/a", value=5.25, type="Double")
    source = make(ua_server, trusted, identities["client"])
    assert await source.probe() == []
    path.write_bytes(authority.revocations(encoding))
    (sentence,) = await source.probe()
    assert "BadCertificateRevoked, it is revoked" in sentence
    path.write_bytes(b"no list")
    (sentence,) = await source.probe()
    assert sentence == f"trust: expected a revocation list at {path}, found something else"


async def test_no_password_reaches_a_stranger(ua_server, intake, identities, trusted):
    stranger = identities["stranger"]
    ua_server.start(*secured(stranger, f"--uri={stranger.uri}", "--login=givre:secret"))
    login = {"username": "givre", "password": "secret"}
    (sentence,) = await make(ua_server, trusted, identities["client"], **login).probe()
    assert "BadCertificateUntrusted" in sentence
    assert "secret" not in sentence
    assert ua_server.tell()["logins"] == 0


async def test_a_login_is_let_in_and_a_wrong_one_is_named(ua_server, identities, trusted):
    ua_server.start(*secured(identities["server"], "--login=givre:secret"))
    ua_server.tell(write="x/a", value=5.25, type="Double")
    us = identities["client"]
    assert await make(ua_server, trusted, us, username="givre", password="secret").probe() == []
    (sentence,) = await make(ua_server, trusted, us, username="givre", password="hidden").probe()
    assert "refused the login" in sentence
    assert "hidden" not in sentence
    assert ua_server.tell()["logins"] == 2


async def test_a_server_that_does_not_trust_us_is_told_from_one_that_is_away(ua_server, identities, trusted, guests):
    shutil.copy(identities["stranger"].certificate, guests / "client.der")  # the only one it trusts
    ua_server.start(*secured(identities["server"], f"--trust={guests}"))
    (sentence,) = await make(ua_server, trusted, identities["client"]).probe()
    assert identities["client"].thumbprint in sentence
    assert "accept it there" in sentence
    ua_server.kill()
    (sentence,) = await make(ua_server, trusted, identities["client"]).probe()
    assert "nobody listens" in sentence


async def test_a_policy_that_is_not_offered_is_refused_with_those_that_are(ua_server, identities, trusted):
    ua_server.start("--node=x/a")
    (sentence,) = await make(ua_server, trusted, identities["client"]).probe()
    assert "does not offer Basic256Sha256 SignAndEncrypt" in sentence
    assert "it offers: None None_" in sentence
    assert "change `policy`" in sentence


@pytest.mark.parametrize("outdated", ["Basic128Rsa15", "Basic256"])
async def test_a_server_with_nothing_but_an_outdated_policy_is_refused_and_told_no_password(
    ua_server, intake, identities, trusted, outdated
):
    ua_server.start(*secured(identities["server"], "--login=ana:brown-heron", policy=outdated))
    source = make(ua_server, trusted, identities["client"], username="ana", password="brown-heron")
    async with running(source, intake):
        await intake.until(lambda: intake.statuses)
    assert [status.ok for status in intake.statuses] == [False]
    assert "does not offer Basic256Sha256 SignAndEncrypt" in intake.statuses[0].detail
    assert f"it offers: {outdated} SignAndEncrypt" in intake.statuses[0].detail
    assert intake.samples == []


async def test_files_that_cannot_be_used_are_named(ua_server, identities, trusted, tmp_path):
    ua_server.start(*secured(identities["server"]))
    us, junk = identities["client"], tmp_path / "junk.der"
    junk.write_bytes(b"no certificate")

    async def sentence(**changes) -> str:
        files = {"certificate": us.certificate, "private_key": us.key, "trust": trusted}
        security = UaSecurity(policy=POLICY, **files | changes)
        (found,) = await make(ua_server, trusted, us, security=security).probe()
        return found

    missing = tmp_path / "none.der"
    assert str(missing) in await sentence(certificate=missing)
    assert f"certificate: expected a certificate at {junk}" in await sentence(certificate=junk)
    assert f"private_key: expected a file at {missing}" in await sentence(private_key=missing)
    assert f"(PEM or DER) at {junk}" in await sentence(private_key=junk)
    assert f"the key at {identities['stranger'].key} does not belong" in await sentence(
        private_key=identities["stranger"].key
    )
    assert f"trusted certificates at {missing}" in await sentence(trust=missing)
    assert "renew it" in await sentence(certificate=identities["expired"].certificate)
    shutil.copy(junk, trusted)
    assert f"trust: expected a certificate at {trusted / junk.name}" in await sentence()


async def test_refused_certificates_do_not_fill_the_disk(ua_server, identities, trusted, monkeypatch):
    monkeypatch.setattr(opcua_security, "KEEP", 1)
    rejected = trusted.parent / "rejected"
    rejected.mkdir()
    shutil.copy(identities["client"].certificate, rejected)
    stranger = identities["stranger"]
    ua_server.start(*secured(stranger, f"--uri={stranger.uri}"))
    (sentence,) = await make(ua_server, trusted, identities["client"]).probe()
    assert stranger.thumbprint in sentence
    assert [path.name for path in rejected.iterdir()] == ["client.der"]


@pytest.mark.slow
async def test_a_secured_server_that_is_killed_is_followed_again(  # noqa: PLR0917 - fixtures
    ua_server, intake, identities, trusted, guests, record_property
):
    ua_server.start(*secured(identities["server"], f"--trust={guests}"))
    ua_server.tell(write="x/a", value=1.0, type="Double")
    async with running(make(ua_server, trusted, identities["client"]), intake):
        await intake.until(lambda: 1.0 in intake.values)
        ua_server.kill()
        await intake.until(lambda: not intake.statuses[-1].ok)
        await asyncio.to_thread(ua_server.start)
        up = asyncio.get_running_loop().time()
        ua_server.tell(write="x/a", value=2.0, type="Double")
        await intake.until(lambda: 2.0 in intake.values, 25)
        record_property("figure", f"encrypted: data again after {asyncio.get_running_loop().time() - up:.1f} s")
        await intake.until(lambda: intake.statuses[-1].ok)
