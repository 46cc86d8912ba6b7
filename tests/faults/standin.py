"""Stands in the place of `givre` under its unit: the same two commands, the same notifications, nothing else.

`check` accepts a configuration that begins with "site:". `run` says it is ready and beats while its loop turns; SIGUSR1
makes the loop turn without end for ever, as a fault in the fast lane would. What it may touch it tries out and writes down.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import mmap
import os
import signal
import socket
import sys
import time
from functools import partial
from pathlib import Path

from stream.notify import Notifier

CLONE_NEWNS = 0x00020000
OPEN_TO_ALL = ("/etc/open", "/usr/open", "/opt/givre/open", "/var/lib/open", "/srv/open")
"""Folders of mode 0777, made by the test: that they cannot be written is the unit's doing and not that of their mode."""


def attempts() -> dict[str, str]:
    """What came of each thing that the unit allows, or does not."""
    state = Path(os.environ["STATE_DIRECTORY"])
    libc = ctypes.CDLL(None, use_errno=True)

    def unshare() -> None:
        if libc.unshare(CLONE_NEWNS):
            raise OSError(ctypes.get_errno(), "unshare")

    tries = {
        "write state": lambda: (state / "probe").write_text("x"),
        "write cache": lambda: (Path(os.environ["GIVRE_CACHE"]) / "probe").write_text("x"),
        "read config": lambda: Path("/etc/givre/givre.yaml").read_text(),
        "write private tmp": lambda: Path("/tmp/probe").write_text("x"),
        "make itself nice": lambda: os.nice(10),
        "write code": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close(),
        "read cpuinfo": lambda: Path("/proc/cpuinfo").read_text(),
        "open a socket": lambda: socket.create_server(("127.0.0.1", 0)).close(),
        "write config": lambda: Path("/etc/givre/givre.yaml").write_text("x"),
        **{f"write {folder}": partial(Path(folder, "probe").write_text, "x") for folder in OPEN_TO_ALL},
        "read /home": lambda: list(Path("/home/open").iterdir()),
        "ask the kernel of the network": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
        "sniff packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
        "become root": lambda: os.setuid(0),
        "make a namespace": unshare,
        "open a disk": lambda: os.mknod("/tmp/disk", 0o60600, os.makedev(8, 0)),
        "see others' processes": lambda: Path("/proc/1/comm").stat(),
    }
    result = {}
    for name, attempt in tries.items():
        try:
            attempt()
            result[name] = "done"
        except OSError as error:
            result[name] = type(error).__name__
    return result


async def serve() -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, hang)
    found = {"uid": os.getuid(), **attempts()}
    found["credential"] = (Path(os.environ["CREDENTIALS_DIRECTORY"]) / "probe").read_text()
    (Path(os.environ["STATE_DIRECTORY"]) / "attempts.json").write_text(json.dumps(found))
    notifier = Notifier.from_environment()

    def reload() -> None:
        notifier.reloading()
        notifier.status("read anew")
        notifier.ready()

    loop.add_signal_handler(signal.SIGHUP, reload)
    notifier.ready()
    notifier.status("standing in")
    while not stop.is_set():
        notifier.beat()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.1)
    notifier.stopping()


def hang() -> None:
    while True:
        time.sleep(0.01)


if __name__ == "__main__":
    command, config = sys.argv[1:]
    if not Path(config).read_text().startswith("site:"):
        sys.exit(f"{config}: not a configuration")
    if not (Path(os.environ["CREDENTIALS_DIRECTORY"]) / "probe").read_text():
        sys.exit("no credential")
    if command == "run":
        asyncio.run(serve())
