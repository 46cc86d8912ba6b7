"""compose.yaml and what it refers to; no container runs here, so this is about what the file itself can get wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).parents[3] / "deploy"
TEXT = (DEPLOY / "compose.yaml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]


def mounts(service: str) -> dict[str, str]:
    """Where each mount comes from -> where it goes."""
    return {parts[0]: parts[1] for parts in (m.split(":") for m in SERVICES[service].get("volumes", []))}


def test_the_four_programs_are_there() -> None:
    assert {"mosquitto", "influxdb", "grafana", "givre"} <= set(SERVICES)


def test_one_givre_has_the_gpu_and_one_has_none_and_never_both() -> None:
    [device] = SERVICES["givre"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert "deploy" not in SERVICES["givre-cpu"]
    assert not set(SERVICES["givre"]["profiles"]) & set(SERVICES["givre-cpu"]["profiles"])


def test_every_file_that_is_mounted_is_here_and_every_volume_is_declared() -> None:
    made_by_the_owner = {"./givre.yaml"}
    for service in SERVICES:
        for source in mounts(service):
            if source.startswith("."):
                assert source in made_by_the_owner or (DEPLOY / source).exists(), source
            else:
                assert source in COMPOSE["volumes"]


def test_no_secret_has_a_default_and_each_is_named_in_the_sample() -> None:
    asked = re.findall(r"\$\{(\w+)([^}]*)\}", TEXT)
    assert all(rest.startswith(":?") for _, rest in asked)
    sample = dict(
        line.split("=") for line in (DEPLOY / "compose.env").read_text().splitlines() if "=" in line and line[0] != "#"
    )
    assert {name for name, _ in asked} | {"COMPOSE_PROFILES"} == set(sample)
    assert {value for name, value in sample.items() if name != "COMPOSE_PROFILES"} == {""}


def test_nothing_listens_beyond_this_machine() -> None:
    for service in SERVICES.values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


def test_grafana_finds_the_dashboard_where_its_provider_looks() -> None:
    [provider] = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/givre.yaml").read_text())["providers"]
    board = mounts("grafana")["./grafana/dashboard.json"]
    assert str(Path(board).parent) == provider["options"]["path"]


def test_grafana_is_told_what_its_data_source_asks_for() -> None:
    source = (DEPLOY / "grafana/provisioning/datasources/givre.yaml").read_text()
    asked = {
        name
        for line in source.splitlines()
        if not line.lstrip().startswith("#")
        for name in re.findall(r"\$\{(\w+)\}", line)
    }
    assert asked == {"GIVRE_INFLUX_URL", "GIVRE_INFLUX_TOKEN"}
    assert asked <= set(SERVICES["grafana"]["environment"])


@pytest.mark.parametrize("service", ["givre", "givre-cpu", "fetch"])
def test_givre_runs_without_rights_and_writes_to_its_volumes_only(service: str) -> None:
    about = SERVICES[service]
    assert about["read_only"] is True
    assert about["cap_drop"] == ["ALL"]
    assert about["security_opt"] == ["no-new-privileges:true"]
    assert mounts(service)["givre-state"] == "/var/lib/givre"
    assert mounts(service)["givre-cache"] == "/var/cache/givre"


def test_the_image_has_the_folders_of_those_volumes_and_a_user_of_its_own() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert "STATE_DIRECTORY=/var/lib/givre" in dockerfile
    assert "GIVRE_CACHE=/var/cache/givre" in dockerfile
    assert re.search(r"^USER givre$", dockerfile, re.MULTILINE)
    copied = {word for line in re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE) for word in line.split()}
    let_in = {
        line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")
    }
    assert copied == let_in
