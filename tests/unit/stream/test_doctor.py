"""The doctor on certificates: what has expired is to be done at once, what will soon is to be looked at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from stream.cli.doctor import examine

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime.now(UTC)
CONFIG = """\
site: test
state_folder: state
sources: {broker: {type: mqtt, host: 127.0.0.1, port: 1, client_id: in, tls: {ca: ca.pem}}}
assets:
  hx:
    tags:
      water: {unit: degC, period_s: 1, hold_s: 30, source: {name: broker, topic: plant/water}}
"""


def certificate(path: Path, ends_at: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "plant")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=400))
        .not_valid_after(ends_at)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))


@pytest.mark.parametrize(("days", "level"), [(-1, "bad"), (10, "look"), (300, "ok")])
def test_a_certificate_is_told_by_its_last_day(tmp_path: Path, days: int, level: str) -> None:
    certificate(tmp_path / "ca.pem", NOW + timedelta(days=days, hours=1))
    config = tmp_path / "givre.yaml"
    config.write_text(CONFIG)
    page = examine(config, connect=False, now=NOW)
    (found,) = [one for one in page.findings if one.part == "certificate"]
    assert found.level == level
    assert "ca.pem" in found.text
    assert page.ok is (level != "bad")


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nonsense")
    config = tmp_path / "givre.yaml"
    config.write_text(CONFIG)
    page = examine(config, connect=False)
    assert any(one.part == "certificate" and one.level == "bad" for one in page.findings)


def test_nothing_is_written(tmp_path: Path) -> None:
    certificate(tmp_path / "ca.pem", NOW + timedelta(days=300))
    config = tmp_path / "givre.yaml"
    config.write_text(CONFIG)
    before = sorted(tmp_path.rglob("*"))
    examine(config, connect=False)
    assert sorted(tmp_path.rglob("*")) == before
