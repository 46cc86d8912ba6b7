"""Who trusted which certificate stands in the log of the system, with an id; what was refused does not."""

from __future__ import annotations

import syslog
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from stream.cli.trust import trust

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """\
site: demo
sources:
  plc:
    type: opcua
    endpoint: "opc.tcp://127.0.0.1:1/"
    namespace: urn:plant
    security: {certificate: client.der, private_key: client.key, trust: pki/trusted}
assets: {hx: {tags: {t: {unit: degC, period_s: 10, hold_s: 60, source: {name: plc, node: s=t}}}}}
sinks: {store: {type: influxdb, url: "http://h:8086", bucket: b}}
"""


def refused(folder: Path) -> str:
    """Puts a certificate where the source keeps those that it refused; its thumbprint."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "plc\nGV999 forged")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + timedelta(days=9))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier("urn:plc")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    thumbprint = certificate.fingerprint(hashes.SHA1()).hex().upper()
    folder.mkdir(parents=True)
    (folder / f"{thumbprint}.der").write_bytes(certificate.public_bytes(Encoding.DER))
    return thumbprint


def test_trusting_and_withdrawing_are_one_line_each_with_an_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(syslog, "syslog", lambda _priority, line: lines.append(line))
    (tmp_path / "givre.yaml").write_text(CONFIG)
    mark = refused(tmp_path / "pki/rejected")
    with pytest.raises(SystemExit):
        trust(tmp_path / "givre.yaml", "0" * 40)
    assert lines == []
    trust(tmp_path / "givre.yaml", mark[:10])
    trust(tmp_path / "givre.yaml", mark[:10], withdraw=True)
    assert [line.split(" ")[:3] for line in lines] == [["GV210", "plc:", mark], ["GV211", "plc:", mark]]
    assert all(str(tmp_path / "pki/trusted") in line and line.isprintable() for line in lines)
