"""A small configuration to damage, and what is then said of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from config.errors import ConfigError
from config.load import Loaded, load

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL = """\
site: demo
sources:
  plc: {type: opcua, endpoint: "opc.tcp://h:1/x", namespace: "urn:p"}
  broker: {type: mqtt, host: h, client_id: c}
assets:
  hx:
    tags:
      t:
        unit: degC
        period_s: 10
        hold_s: 60
        source: {name: plc, node: s=t}
        tolerance: {setpoint: 5, tolerance: 0.2, deadband: 0.1}
sinks:
  store: {type: influxdb, url: "http://h:8086", bucket: b}
"""


@pytest.fixture(scope="session")
def small() -> str:
    """A valid configuration of one tag."""
    return SMALL


@pytest.fixture(scope="session")
def sample() -> Path:
    """The commented sample, which is the reference."""
    return Path(__file__).parents[3] / "config" / "heat_exchanger.yaml"


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], Loaded]:
    """Loads a text as if it were a file."""

    def read(text: str) -> Loaded:
        path = tmp_path / "c.yaml"
        path.write_text(text, encoding="utf-8")
        return load(path)

    return read


@pytest.fixture
def problems(tmp_path: Path) -> Callable[[str | bytes], list[str]]:
    """What is said of a text that must be refused, each line without the file's path."""

    def problems(text: str | bytes) -> list[str]:
        path = tmp_path / "c.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert caught.value.problems
        return [str(p).removeprefix(f"{path}") for p in caught.value.problems]

    return problems
