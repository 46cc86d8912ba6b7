"""How much memory does the model take, against what was planned? A process of its own, so that nothing else is counted.

On a GPU it is what torch allocated at most; on a processor the peak of the resident memory, less what stood there before the
model was loaded (interpreter and libraries).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from rich.table import Table

__all__ = ["measure_memory"]

TAGS, CONTEXT, HORIZON, SAMPLES = 20, 128, 12, 16
MIB = 2**20


def measure_memory(folder: Path, *, device: str, numbers: str) -> tuple[int, int, Table]:
    """Bytes taken, bytes planned, and a table of both."""
    command = [sys.executable, "-m", "benchmarks.reader_memory", str(folder), device, numbers]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    title = f"memory: {TAGS} tags, context {CONTEXT}, {SAMPLES} futures of {HORIZON} steps, MiB"
    note = (
        "while it loads, the file of the weights is mapped as well: pages that the system takes back when it needs them"
    )
    table = Table(title=title, caption=note)
    for head in ("", "planned", "taken at most, so far"):
        table.add_column(head, justify="left" if not head else "right")
    for name, planned, taken in found["parts"]:
        table.add_row(name, f"{planned / MIB:,.0f}", f"{taken / MIB:,.0f}")
    return found["taken"], found["planned"], table


def _child(folder: Path, device: str, numbers: str) -> None:
    import torch

    from benchmarks.reader_windows import make_windows
    from detectors.language.forecaster import LanguageForecaster
    from detectors.language.model import load_model, pick_device
    from detectors.language.plan import LIBRARY_BYTES

    cuda = pick_device(device).type == "cuda"
    # What the first product of matrices sets up belongs to the library, not to the model.
    (torch.ones(64, 64, dtype=torch.bfloat16) @ torch.ones(64, 64, dtype=torch.bfloat16)).sum().item()

    def taken() -> int:
        return torch.cuda.max_memory_allocated() if cuda else _resident("VmHWM")

    before = 0 if cuda else _resident("VmRSS")
    model = load_model(folder, device=device, numbers=numbers)
    parts = [taken() - before]
    forecaster = LanguageForecaster(model, context=CONTEXT, min_context=16, samples=SAMPLES, horizon=HORIZON)
    for step in range(3):
        forecaster.read(make_windows(TAGS, CONTEXT, step))
    parts.append(taken() - before)
    forecaster.forecast(make_windows(TAGS, CONTEXT, 3), horizon=HORIZON)
    parts.append(taken() - before)
    plan = forecaster.plan
    planned = (
        plan.weights + LIBRARY_BYTES,
        plan.weights + LIBRARY_BYTES + plan.tags * plan.per_tag + plan.activations,
        plan.total,
    )
    names = ("weights and libraries", "and what was read of the tags, one pass", "and drawn futures")
    rows = list(zip(names, planned, parts, strict=True))
    print(json.dumps({"parts": rows, "taken": parts[-1], "planned": plan.total}))


def _resident(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


if __name__ == "__main__":
    _child(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
