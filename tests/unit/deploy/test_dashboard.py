"""The dashboard as Grafana will read it, without Grafana: its types, its references, its layout.

`tests/end_to_end/test_dashboards.py` asks its questions of a real database.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

REPOSITORY = Path(__file__).parents[3]
GRAFANA = REPOSITORY / "deploy/grafana"
COMMITTED = json.loads((GRAFANA / "dashboard.json").read_text())
BUILT_IN = {"timeFilter", "__interval"}
# Of Grafana's InfluxDB plugin, not of the SDK: AnnotationTarget knows no plugin's own keys.
OF_THE_PLUGIN = {
    "refId",
    "datasource",
    "fromAnnotations",
    "rawQuery",
    "resultFormat",
    "query",
    "textColumn",
    "tagsColumn",
}


def built(*arguments: str) -> Any:
    program = [sys.executable, str(GRAFANA / "dashboard.py"), *arguments]
    return json.loads(subprocess.run(program, capture_output=True, text=True, check=True, timeout=60).stdout)


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [p for p in board["panels"] if p["type"] != "row"]


def unknown(given: object, kept: object, path: str = "") -> list[str]:
    """Keys of `given` that a round trip through the SDK's types has lost: words that Grafana would not know."""
    if isinstance(given, dict):
        lost = []
        for key, value in given.items():
            if not isinstance(kept, dict) or key not in kept:
                lost.append(f"{path}/{key}")
            else:
                lost += unknown(value, kept[key], f"{path}/{key}")
        return lost
    if isinstance(given, list):
        assert isinstance(kept, list)
        return [x for i, (a, b) in enumerate(zip(given, kept, strict=True)) for x in unknown(a, b, f"{path}/{i}")]
    return []


def round_trip(board: dict[str, Any]) -> Any:
    plugins.register_default_plugins()
    return json.loads(json.dumps(Dashboard.from_json(json.loads(json.dumps(board))), cls=JSONEncoder))


def test_what_is_committed_is_what_the_code_makes() -> None:
    assert built() == COMMITTED, "run: python deploy/grafana/dashboard.py > deploy/grafana/dashboard.json"


def test_grafana_knows_every_word_of_it() -> None:
    lost = unknown(COMMITTED, round_trip(COMMITTED))
    theirs = re.compile(r"/annotations/list/\d+/target/(\w+)")
    assert {m[1] for x in lost if (m := theirs.fullmatch(x))} <= OF_THE_PLUGIN
    assert [x for x in lost if not theirs.fullmatch(x)] == []


def test_a_word_that_grafana_does_not_know_would_be_found() -> None:
    board = json.loads(json.dumps(COMMITTED))
    panels(board)[0]["titel"] = "a typing error"
    assert [x for x in unknown(board, round_trip(board)) if x.endswith("/titel")] == ["/panels/0/titel"]


@pytest.mark.parametrize("panel", panels(COMMITTED), ids=lambda p: p["title"])
def test_a_panel_says_what_it_shows_in_which_unit_from_where(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "influxdb", "uid": "givre"}
    assert panel["targets"]
    for target in panel["targets"]:
        assert set(target) <= {"refId", "datasource", "query", "rawQuery", "resultFormat", "alias"}
        assert target["rawQuery"] is True
        assert target["datasource"] == panel["datasource"]
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_every_panel_has_a_number_and_a_place_of_its_own() -> None:
    ids = [p["id"] for p in COMMITTED["panels"]]
    assert len(set(ids)) == len(ids)
    taken: dict[tuple[int, int], int] = {}
    for p in COMMITTED["panels"]:
        at = p["gridPos"]
        assert at["x"] + at["w"] <= 24
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            assert taken.setdefault(cell, p["id"]) == p["id"], f"panel {p['title']} covers another"


def test_every_variable_that_is_used_exists() -> None:
    known = {v["name"] for v in COMMITTED["templating"]["list"]} | BUILT_IN
    texts = [t["query"] for p in panels(COMMITTED) for t in p["targets"]] + [p["title"] for p in panels(COMMITTED)]
    texts += [a["target"]["query"] for a in COMMITTED["annotations"]["list"]]
    texts += [v["query"] for v in COMMITTED["templating"]["list"]]
    used = {name for text in texts for name in re.findall(r"\$\{?(\w+)", text)}
    assert used == known


def test_every_override_by_name_finds_a_column() -> None:
    """A name in an override that no query gives would be a band that is never filled."""
    for p in panels(COMMITTED):
        texts = " ".join(target["query"] for target in p["targets"])
        columns = {"Time", *re.findall(r'"([^"]+)"', texts)}
        for override in p["fieldConfig"].get("overrides", []):
            if override["matcher"]["id"] == "byName":
                assert override["matcher"]["options"] in columns, p["title"]
            for property_ in override["properties"]:
                if property_["id"] == "custom.fillBelowTo":
                    assert property_["value"] in columns


def test_it_looks_into_the_future_and_keeps_up() -> None:
    assert COMMITTED["time"] == {"from": "now-30m", "to": "now+5m"}
    assert COMMITTED["refresh"] == "5s"


def test_with_a_configuration_each_tag_has_a_panel_in_its_own_unit() -> None:
    board = built("--config", str(REPOSITORY / "config/heat_exchanger.yaml"))
    units = {p["title"]: p["fieldConfig"]["defaults"]["unit"] for p in panels(board) if " / " in p["title"]}
    assert units == {
        "exchanger / chilled_water": "celsius",
        "exchanger / inlet": "celsius",
        "exchanger / flow": "flowcmh",
        "exchanger / pump_command": "percent",
        "exchanger / power": "kwatt",
    }
    assert not any("repeat" in p for p in panels(board))


def test_the_data_source_has_the_uid_and_the_language_that_the_dashboard_counts_on() -> None:
    [source] = yaml.safe_load((GRAFANA / "provisioning/datasources/givre.yaml").read_text())["datasources"]
    assert (source["uid"], source["type"]) == ("givre", "influxdb")
    assert source["jsonData"]["version"] == "InfluxQL"
    assert source["jsonData"]["dbName"] == "givre"


def test_the_provider_reads_a_folder() -> None:
    [provider] = yaml.safe_load((GRAFANA / "provisioning/dashboards/givre.yaml").read_text())["providers"]
    assert (provider["type"], provider["options"]["path"]) == ("file", "/etc/grafana/dashboards/givre")
