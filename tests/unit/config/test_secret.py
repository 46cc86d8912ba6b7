"""Secrets come from outside the file and are never shown."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from config.errors import SecretError
from config.load import Loaded, load
from config.schema import Secret
from config.secret import Redacted, reveal

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    path = tmp_path / "c.yaml"
    path.write_text(
        "site: s\nsources:\n  b: {type: mqtt, host: h, client_id: c, username: u, password: {env: GIVRE_P}}\n"
        "assets: {a: {tags: {t: {unit: x, period_s: 1, hold_s: 2, source: {name: b, topic: t}}}}}\n"
    )
    return load(path)


def ask(loaded: Loaded, secret: Secret | None) -> str | None:
    return reveal(secret, loaded, "sources", "b", "password")


def test_from_the_environment(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIVRE_P", "s3cret")
    assert ask(loaded, Secret(env="GIVRE_P")) == "s3cret"
    assert ask(loaded, None) is None


def test_from_a_systemd_credential_without_its_last_line_end(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broker").write_text("s3cret\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert ask(loaded, Secret(credential="broker")) == "s3cret"


def test_a_credential_by_hand_is_the_file_that_the_unit_takes_it_from(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    (tmp_path / "credentials").mkdir()
    path = tmp_path / "credentials/broker"
    path.write_text("s3cret\n")
    path.chmod(0o600)
    assert ask(loaded, Secret(credential="broker")) == "s3cret"
    path.chmod(0o644)
    with pytest.raises(SecretError, match=r"found mode 0644. chmod 600"):
        ask(loaded, Secret(credential="broker"))
    with pytest.raises(
        SecretError, match=r"No such file .* Write it to .*/credentials/other \(mode 0600\), with LoadCred"
    ):
        ask(loaded, Secret(credential="other"))


def test_from_a_file_that_only_its_owner_reads(loaded: Loaded, tmp_path: Path) -> None:
    path = tmp_path / "p"
    path.write_text("s3cret\n")
    path.chmod(0o600)
    assert ask(loaded, Secret(file="p")) == "s3cret"
    path.chmod(0o640)
    with pytest.raises(SecretError, match=r"found mode 0640. chmod 600") as caught:
        ask(loaded, Secret(file="p"))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        (
            Secret(env="GIVRE_NOT_SET"),
            ":3: sources.b.password: expected the environment variable GIVRE_NOT_SET, found none of that name. Set it ",
        ),
        (
            Secret(credential="x"),
            "expected the systemd credential x, found none that can be read in ",
        ),
        (Secret(file="nowhere"), "found No such file or directory. Write it there and chmod 600 "),
        (Secret(file="."), "found no regular file"),
    ],
)
def test_a_missing_one_names_its_key_and_its_line(
    loaded: Loaded, secret: Secret, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(SecretError) as caught:
        ask(loaded, secret)
    assert expected in str(caught.value)


def test_an_empty_one_and_a_path_for_a_name_are_refused(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GIVRE_P", "")
    with pytest.raises(SecretError, match="found an empty text"):
        ask(loaded, Secret(env="GIVRE_P"))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(SecretError, match="expected the name of a credential"):
        ask(loaded, Secret(credential="../etc/passwd"))


def test_a_secret_is_text_to_what_takes_it_and_nothing_to_who_looks(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass
    class Login:
        password: str | None

    monkeypatch.setenv("GIVRE_P", "s3cret")
    secret = ask(loaded, Secret(env="GIVRE_P"))
    assert secret is not None
    assert (secret.encode(), isinstance(secret, str)) == (b"s3cret", True)
    assert (
        repr(Login(secret))
        == "test_a_secret_is_text_to_what_takes_it_and_nothing_to_who_looks.<locals>.Login(password=<secret>)"
    )
    assert f"{secret!r}" == "%r" % secret == "<secret>"  # noqa: UP031 - as loggers do
    assert not hasattr(Redacted("x"), "__dict__")


def test_what_is_no_text_or_no_file_is_refused_without_waiting(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(name: str, expected: str) -> None:
        (tmp_path / name).chmod(0o600)
        with pytest.raises(SecretError, match=expected) as caught:
            ask(loaded, Secret(file=name))
        assert "s3cret" not in str(caught.value)

    (tmp_path / "latin").write_bytes(b"s3cret\xe9")
    refused("latin", "found another encoding than UTF-8")
    (tmp_path / "large").write_bytes(b"s3cret" * 20_000)
    refused("large", "found more than 65536 bytes")
    os.mkfifo(tmp_path / "pipe")
    refused("pipe", "found no regular file")
    monkeypatch.setenv("GIVRE_P", "s3cret\udce9")
    with pytest.raises(SecretError, match="to be UTF-8, found another encoding") as caught:
        ask(loaded, Secret(env="GIVRE_P"))
    assert "s3cret" not in str(caught.value)


def test_only_one_line_end_is_no_part_of_the_secret(loaded: Loaded, tmp_path: Path) -> None:
    for written, expected in ((b"a b\r\n", "a b"), (b" a\n\n", " a\n"), (b"a", "a")):
        (tmp_path / "p").write_bytes(written)
        (tmp_path / "p").chmod(0o400)
        assert ask(loaded, Secret(file="p")) == expected
