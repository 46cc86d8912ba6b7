"""Who can connect to Givre? Nobody, and programs of the same machine where metrics are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

LISTENS = "0A"
LOOPBACK = "0100007F"


def listening(processes: Sequence[Path]) -> set[tuple[str, int]]:
    """Addresses (as the kernel writes them) and ports on which the processes listen."""
    inodes = set()
    for process in processes:
        for link in (process / "fd").iterdir():
            target = str(link.readlink()) if link.is_symlink() else ""
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENS and fields[9] in inodes:
                address, _, port = fields[1].partition(":")
                found.add((address, int(port, 16)))
    return found


def test_it_listens_nowhere_and_on_loopback_alone_where_metrics_are_asked_for(
    mosquitto: Any, run_service: Any, witness: Any, configuration: Any, free_port_2: int
) -> None:
    seen = witness(mosquitto.port)
    service = run_service(configuration(mosquitto.port))
    service.until(
        lambda: any(topic.startswith("givre/test/") for topic, _ in seen.messages) and len(service.family()) > 1
    )
    assert listening(service.family()) == set()
    assert service.close() == 0
    service = run_service(configuration(mosquitto.port, http=f"http: {{port: {free_port_2}}}"))
    service.until(lambda: listening(service.family()))
    assert listening(service.family()) == {(LOOPBACK, free_port_2)}
    assert service.close() == 0
