"""Can a model's folder run code, or reach the network, when it is loaded?"""

from __future__ import annotations

import os
import pickle
import socket
from typing import TYPE_CHECKING

from detectors.language.model import load_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest


class Trap:
    """Pickled, it makes a folder when it is read."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self._trace),)


def test_loading_opens_no_connection_and_runs_no_pickle(
    tiny_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in tiny_model().iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    trap = pickle.dumps(Trap(tmp_path / "trace"))
    names = ("pytorch_model.bin", "tokenizer.pkl", "training_args.bin", "optimizer.pt", "adapter_model.bin")
    for name in names:
        (folder / name).write_bytes(trap)
    reached: list[object] = []

    def refuse(_socket: socket.socket, address: object) -> None:
        reached.append(address)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    load_model(folder, device="cpu")
    assert reached == []
    assert not (tmp_path / "trace").exists()
    pickle.loads(trap)  # the trap works
    assert (tmp_path / "trace").exists()
