"""The service that a soak torments, what the system says of its process, and the relays between it and its servers."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["SERVERS", "Links", "Look", "Service", "growth"]

HERE = Path(__file__).parent
WARM_S = 60.0
"""A process is looked at when it has run for so long."""
GROWTH_MB, GROWTH_MB_PER_H = 5.0, 1.0
"""What memory may grow by over the watched life: an allowance, and so much an hour."""
GROWTH = 2.0
"""What descriptors and threads may grow by."""


def _module(name: str, path: Path) -> ModuleType:
    """The tests' own servers live in files that no package holds."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


SERVERS = _module("soak_servers", HERE.parent / "conftest.py")
NETWORK = _module("soak_network", HERE / "conftest.py")


@dataclass(slots=True)
class Look:
    """What the system says of the service's process."""

    age_s: float
    rss_mb: float
    descriptors: int
    threads: int


class Service:
    """`givre run` and what the system says of it."""

    def __init__(self, folder: Path, http: int) -> None:
        self.config = folder / "givre.yaml"
        self.log = folder / "log"
        self.looks: list[Look] = []
        self._http = http
        self._began = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        self.looks, self._began = [], time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "stream", "run", str(self.config)], stdout=log, stderr=log
            )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(15)
            self._process = None

    def end(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(40)

    def send(self, number: int) -> None:
        SERVERS.send_signal(self._process, number)

    def health(self) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._http}/health", timeout=2) as answer:
                return answer.status, ""
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def children(self) -> list[int]:
        return [int(p) for path in Path(f"/proc/{self.pid}/task").glob("*/children") for p in path.read_text().split()]

    def look(self) -> None:
        """Notes memory, descriptors and threads."""
        with contextlib.suppress(OSError):
            folder = Path(f"/proc/{self.pid}")
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
            self.looks.append(
                Look(
                    age_s=time.monotonic() - self._began,
                    rss_mb=int(status["VmRSS"].split()[0]) / 1024,
                    descriptors=len(list((folder / "fd").iterdir())),
                    threads=int(status["Threads"]),
                )
            )


class Links:
    """The relays to the three servers, in a loop of their own."""

    def __init__(self, **targets: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._relays = {name: NETWORK.Relay(port) for name, port in targets.items()}
        self._servers = [
            asyncio.run_coroutine_threadsafe(relay.serve(), self._loop).result() for relay in self._relays.values()
        ]

    def port(self, name: str) -> int:
        return int(self._relays[name].port)

    def cut(self, name: str) -> None:
        """Swallows all from now on."""
        self._relays[name].hole = True

    def mend(self, name: str) -> None:
        self._relays[name].hole = False

    def reset(self, name: str) -> None:
        self._loop.call_soon_threadsafe(self._relays[name].reset)

    def close(self) -> None:
        async def close() -> None:
            for server, relay in zip(self._servers, self._relays.values(), strict=True):
                server.close()
                relay.hole = False
                relay.reset()
            await asyncio.sleep(0.2)

        asyncio.run_coroutine_threadsafe(close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def growth(every: list[Look], broken: list[str]) -> dict[str, Any]:
    """How memory, descriptors and threads went over a life, after it was warm; too much is a broken invariant."""
    looks = [look for look in every if look.age_s > min(WARM_S, every[-1].age_s / 4)]
    quarter = max(len(looks) // 4, 1)
    first, last = looks[:quarter], looks[-quarter:]
    hours = (looks[-1].age_s - looks[0].age_s) / 3600
    grown = {
        name: median(getattr(x, name) for x in last) - median(getattr(x, name) for x in first)
        for name in ("rss_mb", "descriptors", "threads")
    }
    if grown["rss_mb"] > GROWTH_MB + GROWTH_MB_PER_H * hours:
        broken.append(f"memory grew by {grown['rss_mb']:.1f} MB in {hours:.2f} h")
    for name in ("descriptors", "threads"):
        if grown[name] > GROWTH:
            broken.append(f"{name} grew by {grown[name]:g} in {hours:.2f} h")
    ages = [x.age_s / 3600 for x in looks]
    middle, mean = sum(ages) / len(ages), sum(x.rss_mb for x in looks) / len(looks)
    spread = sum((a - middle) ** 2 for a in ages)
    slope = sum((a - middle) * (x.rss_mb - mean) for a, x in zip(ages, looks, strict=True)) / spread if spread else 0.0
    return {
        "watched_h": round(hours, 3), "rss_mb": round(looks[-1].rss_mb, 1), "rss_grown_mb": round(grown["rss_mb"], 2),
        "rss_slope_mb_per_h": round(slope, 2), "descriptors": looks[-1].descriptors, "descriptors_grown": grown["descriptors"],
        "threads": looks[-1].threads, "threads_grown": grown["threads"],
    }  # fmt: skip
