"""docs/operate.md for real: every command of its blocks as it is typed there, beside the running service under systemd."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.faults.manual import INSTALL, PUBLISH, REPOSITORY, install, let_in, make_wheel, start, states

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.faults.conftest import Identity, Nest

ALARM = "exchanger/trial/tolerance"
# sudo itself is not what is tried here, and not on every machine.
SUDO = 'sudo() { env "$@"; }; cd /opt/repository; set -e\n'
NEXT = '    2: ("CREATE TABLE of_the_next_version (word TEXT)",),\n}\n"""What makes'


def typed(heading: str) -> list[str]:
    """The blocks of commands below a heading of the page, about the alarm of docs/install.md."""
    page = (REPOSITORY / "docs/operate.md").read_text()
    section = re.split(r"(?m)^## ", page.partition(f"\n## {heading}\n")[2])[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    assert blocks, heading
    return [block.replace("exchanger/chilled_water/tolerance", ALARM) for block in blocks]


def become_the_next_version(source: Path) -> None:
    """What a release does: another version number, and another layout of the journal."""
    for file, old, new in (
        ("pyproject.toml", 'version = "0.1.0"', 'version = "99.0.0"'),
        ("stream/journal/file.py", "\nVERSION = 2\n", "\nVERSION = 3\n"),
        ("stream/journal/file.py", '}\n"""What makes', NEXT),
        ("stream/journal/file.py", "CREATE TABLE command", "CREATE TABLE of_the_next_version (word TEXT);\nCREATE TABLE command"),
    ):  # fmt: skip
        text = (source / file).read_text()
        assert text.count(old) == 1, old
        (source / file).write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory,
    nested_systemd: Callable[[Path], AbstractContextManager[Nest]],
    require: Callable[[str], str],
    identities: dict[str, Identity],
) -> Iterator[Nest]:
    """The service as docs/install.md leaves it, with its first alarm; wheels of this version and of a next one are at hand."""
    for program in ("mosquitto", "mosquitto_pub", "influxd", "influx"):
        require(program)
    folder = tmp_path_factory.mktemp("nest")
    (folder / "opt/wheel").mkdir(parents=True)
    this = make_wheel(tmp_path_factory.mktemp("this"))
    following = make_wheel(tmp_path_factory.mktemp("next"), become_the_next_version)
    for wheel in (this, following):
        shutil.copy(wheel, folder / "opt/wheel")
    (folder / "opt/pki").mkdir()
    for file in (identities["server"].certificate, identities["server"].key):
        shutil.copy(file, folder / "opt/pki")
    with nested_systemd(folder) as nest:
        install(nest, f"/opt/wheel/{this.name}")
        let_in(nest)
        nest.run("printf 'http: {host: 127.0.0.1, port: 9464}\\n' >> /etc/givre/givre.yaml")
        start(nest)
        nest.following = f"/opt/wheel/{following.name}"
        yield nest


def do(nest: Nest, block: str, *, limit_s: float = 60) -> str:
    """Types a block; what it printed."""
    done = nest.run(SUDO + block, limit_s=limit_s)
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def layout(nest: Nest) -> str:
    """The version that the journal's file says it is of."""
    ask = "sqlite3.connect('/var/lib/givre/journal.sqlite3').execute('PRAGMA user_version').fetchone()"
    return nest.run(f'/opt/givre/bin/python -c "import sqlite3; print(*{ask})"').stdout.strip()


def version(nest: Nest) -> str:
    return nest.run("/opt/givre/bin/python -I -c 'import importlib.metadata as m; print(m.version(\"givre\"))'").stdout


def test_one_page_says_how_it_is_and_shows_no_secret(running: Nest) -> None:
    (block,) = typed("How is it?")
    page = do(running, block)
    assert re.search(r"endpoints +ok +every source, sink and tag can be had", page)
    assert f"{ALARM}: unacknowledged" in page
    assert "see to the alarms: givre alarms list /etc/givre/givre.yaml" in page
    assert "ni-ervig" not in page


def test_health_and_metrics_answer(running: Nest) -> None:
    (block,) = typed("Watch it")
    said = do(running, block)
    assert json.loads(said.splitlines()[0])["ok"] is True
    assert "\ngivre_alarms_standing 1.0\n" in said


def test_each_command_about_alarms_does_what_the_page_says(running: Nest) -> None:
    (block,) = typed("The alarms")
    lines = [line for line in block.splitlines() if line]
    outputs = [do(running, line) for line in lines[:3]]
    assert ALARM in outputs[0]
    assert ALARM not in outputs[1], "it is of priority low"
    running.wait(lambda: ",acknowledged" in states(running), 10, "it is acknowledged")
    do(running, lines[3])
    running.wait(lambda: ",shelved" in states(running), 10, "it is shelved")
    do(running, lines[4])
    running.wait(lambda: "done" in do(running, lines[5]).partition("unshelve")[0][-60:], 10, "it is off the shelf")
    assert "your name, terminal: acknowledge exchanger/trial/tolerance" in do(running, lines[5])
    assert re.search(rf"\n +[0-9]+  {ALARM}", do(running, lines[6]))


def test_a_file_with_a_fault_is_refused_and_a_right_one_used_by_the_same_process(running: Nest) -> None:
    (block,) = typed("Change the configuration")
    process = running.started()
    running.run("cp -p /etc/givre/givre.yaml /tmp/good.yaml; sed -i s/tolerance:/tolernce:/ /etc/givre/givre.yaml")
    assert running.run(SUDO + block).returncode != 0
    assert "Did you mean 'tolerance'?" in running.run("journalctl --unit=givre --no-pager | tail -3").stdout
    running.run("sed 's/on_delay_s: 5/on_delay_s: 4/' /tmp/good.yaml > /etc/givre/givre.yaml")
    do(running, block)
    used = "journalctl --unit=givre GIVRE_EVENT=GV110 --output=cat --no-pager"
    running.wait(lambda: "the changed file is used" in running.run(used).stdout, 10, "it is used")
    assert running.started() == process


def test_a_secured_server_is_followed_once_it_is_trusted(running: Nest) -> None:
    section = (REPOSITORY / "docs/install.md").read_text().partition("\n## With OPC UA\n")[2]
    make = section.partition("```sh\n")[2].partition("```")[0]
    source = section.partition("```yaml\n")[2].partition("```")[0]
    do(running, make)
    server = (
        "/opt/givre/bin/python /opt/repository/tests/servers/opcua_server.py --port=4840 --namespace=urn:vendor:plant"
    )
    identity = (
        "--uri=urn:test:server --certificate=/opt/pki/server.der --key=/opt/pki/server.pem --policy=Basic256Sha256"
    )
    do(running, "mkdir -p /opt/pki/guests; cp /etc/givre/pki/givre.der /opt/pki/guests")
    do(running, f"systemd-run --quiet --unit=plc {server} {identity} --trust=/opt/pki/guests --node=x/a")
    tag = "      level: {unit: m, period_s: 1, hold_s: 9, source: {name: plc, node: s=x/a}}\n"
    running.run("cp -p /etc/givre/givre.yaml /tmp/good.yaml")
    config = running.run("cat /tmp/good.yaml").stdout.replace("\nsources:\n", f"\nsources:\n{source}")
    config = config.replace("    tags:\n", f"    tags:\n{tag}")
    running.run(f"cat > /etc/givre/givre.yaml << 'END'\n{config}END\n")
    do(running, "systemctl reload givre")

    (block,) = typed("Which OPC UA servers are trusted")
    ask, trust, withdraw = block.splitlines()

    def shown() -> str:
        return do(running, ask)

    running.wait(lambda: "server now: " in shown(), 20, "the server shows its certificate")
    thumbprint = re.search(r"\b[0-9A-F]{40}\b", shown())
    assert thumbprint, shown()
    events = "journalctl --unit=givre GIVRE_EVENT={} --output=cat --no-pager"
    running.wait(
        lambda: thumbprint[0] in running.run(events.format("GV201")).stdout, 20, "it is refused by its thumbprint"
    )
    do(running, trust.replace("3F9A41C07B", thumbprint[0][:10]))
    running.wait(lambda: "source.plc: " in running.run(events.format("GV200")).stdout, 60, "it is followed")
    assert re.search(r"ok +exchanger/level: last sample", do(running, "sudo givre doctor /etc/givre/givre.yaml"))
    do(running, withdraw.replace("3F9A41C07B", thumbprint[0][:10]))
    assert "  trusted: " not in shown()
    told = running.run("journalctl --identifier=givre --grep=GV21 --output=cat --no-pager").stdout
    assert "GV210" in told
    assert "GV211" in told
    running.run("cp -p /tmp/good.yaml /etc/givre/givre.yaml; systemctl reload givre; systemctl stop plc")


def test_what_runs_is_compared_with_known_weaknesses(running: Nest) -> None:
    (block,) = typed("Known weaknesses")
    records = {
        name: {"id": f"PYSEC-{name}", "modified": datetime.now(UTC).isoformat(), "summary": "It bites.",
               "affected": [{"package": {"ecosystem": "PyPI", "name": name}}]}
        for name in ("left-pad", "asyncua")
    }  # fmt: skip

    def bring(*names: str) -> None:
        texts = {f"{name}.json": records[name] for name in names}
        pack = f"[z.writestr(name, json.dumps(text)) for name, text in {texts!r}.items()]"
        write = f"import json, zipfile; z = zipfile.ZipFile('/var/tmp/all.zip', 'w'); {pack}; z.close()"
        made = running.run(f"/opt/givre/bin/python -c {shlex.quote(write)}")
        assert made.returncode == 0, made.stderr

    bring("left-pad")
    assert "1 records" in do(running, block)
    bring("left-pad", "asyncua")
    found = running.run(SUDO + block)
    assert found.returncode == 1
    assert "PYSEC-asyncua" in found.stdout


def test_a_day_is_judged_again_beside_the_running_service(running: Nest) -> None:
    (block,) = typed("Judge a day again")
    assert ALARM.split("/")[1] in do(running, block)


def test_a_backup_is_made_and_restored_as_the_page_says(running: Nest) -> None:
    backup, restore = typed("Back up, restore")
    assert "/var/lib/givre-copy" in do(running, backup)
    standing = "givre alarms list /etc/givre/givre.yaml --all"
    before = do(running, standing)
    do(running, restore)
    running.started()
    assert do(running, standing) == before
    assert "journal: writing" in do(running, "sudo givre doctor /etc/givre/givre.yaml")


def test_an_upgrade_that_fails_changes_nothing(running: Nest) -> None:
    process, tried = running.started(), version(running)
    running.run("echo broken > /opt/wheel/givre-98.0.0-py3-none-any.whl")
    assert (
        running.run(f"{INSTALL} --wheel /opt/wheel/givre-98.0.0-py3-none-any.whl --no-fetch", limit_s=60).returncode
        != 0
    )
    running.run("cp -p /etc/givre/givre.yaml /tmp/good.yaml; echo 'nonsense: 1' >> /etc/givre/givre.yaml")
    refused = running.run(f"{INSTALL} --wheel {running.following} --no-fetch", limit_s=60)
    running.run("cp -p /tmp/good.yaml /etc/givre/givre.yaml")
    assert refused.returncode != 0
    assert "a configuration that this version refuses: nothing is changed" in refused.stderr
    assert "nonsense" in refused.stderr
    assert (running.started(), version(running)) == (process, tried)
    assert running.run("ls -d /opt/givre.new").stdout == ""


def test_up_to_the_next_version_and_back_with_every_alarm_as_it_stood(running: Nest) -> None:
    up, back = typed("Upgrade, and back")
    command = f"{INSTALL} --wheel {running.following} --no-fetch"
    standing, tried = "givre alarms list /etc/givre/givre.yaml --all", version(running)
    before = do(running, standing)
    do(running, up.replace("deploy/install.sh ", command + " "), limit_s=90)
    running.started()
    assert version(running) == "99.0.0\n"
    assert do(running, standing) == before
    assert layout(running) == "3"
    running.run(f"{PUBLISH} -m 5.0")

    said = do(running, back.replace("deploy/install.sh ", INSTALL + " "), limit_s=90)
    assert f"this is Givre {tried.strip()} again" in said
    running.started()
    assert version(running) == tried
    assert layout(running) == "2"
    assert "version 3 of a later Givre" in running.run("journalctl --unit=givre GIVRE_EVENT=GV501 --no-pager").stdout
    assert ALARM not in do(running, "givre alarms list /etc/givre/givre.yaml")
    (_, restore) = typed("Back up, restore")
    running.run("rm -rf /var/lib/givre-before")
    do(running, restore.replace("givre-copy", "givre-upgrade"))
    running.started()
    assert do(running, standing) == before
