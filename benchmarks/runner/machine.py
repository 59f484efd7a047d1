"""The machine: what it is, and whether it is quiet enough to measure on."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

from grsap.errors import UserError

MAX_BUSY_SHARE = 0.1
"""Share of the processors that may be busy over a second before a side starts."""
MAX_LOAD_PER_CORE = 0.5
"""Load average of the last minute, before the first side; later it is our own."""
STAT = Path("/proc/stat")
PATIENCE_S = 300.0
"""How long a cell that has begun waits for others to finish."""


class LoadedMachineError(UserError):
    """Others compute on this machine: nothing that is measured now would hold."""


def busy_share(seconds: float = 1.0) -> float | None:
    """Share of the processors' time that is in use, in [0, 1]; None where the system does not tell."""
    before = ticks()
    time.sleep(seconds)
    return share_since(before)


def share_since(before: tuple[int, int] | None, own_seconds: float = 0.0) -> float | None:
    """Share of the processors' time that was in use since `ticks` gave `before`, less what we used ourselves."""
    after = ticks()
    if before is None or after is None or after[1] == before[1]:
        return None
    own = own_seconds * os.sysconf("SC_CLK_TCK")
    return max(0.0, (after[0] - before[0] - own) / (after[1] - before[1]))


def check_quiet(*, load: bool, even_if_loaded: bool = False) -> dict[str, float | None]:
    """See that nobody else computes here.

    Args:
        load: look at the load average too.
        even_if_loaded: tell, but do not refuse.

    Returns:
        `load_average` and `busy_share` as they were found.

    Raises:
        LoadedMachineError: the machine is loaded.
    """
    found = {"load_average": os.getloadavg()[0], "busy_share": busy_share()}
    cores = os.cpu_count() or 1
    problems = []
    if load and found["load_average"] > MAX_LOAD_PER_CORE * cores:
        problems.append(f"the load average is {found['load_average']:.2f} on {cores} cores")
    if found["busy_share"] is not None and found["busy_share"] > MAX_BUSY_SHARE:
        problems.append(f"{found['busy_share']:.0%} of the processors were busy over a second")
    if problems and not even_if_loaded:
        raise LoadedMachineError(
            f"this machine is loaded: {' and '.join(problems)}",
            "Wait until it is quiet, or give --even-if-loaded for figures that are marked as such",
        )
    return found


def wait_until_quiet(even_if_loaded: bool = False) -> dict[str, float | None]:
    """Between two sides: `check_quiet`, which may wait up to `PATIENCE_S`, so that a short disturbance costs no cell.

    Raises:
        LoadedMachineError: the machine stays loaded.
    """
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return check_quiet(load=False, even_if_loaded=even_if_loaded)
        except LoadedMachineError:
            if time.monotonic() > until:
                raise
            time.sleep(5.0)


def describe() -> dict[str, Any]:
    """Processor, cores, memory, GPU and system, for the table."""
    gpus: list[str] = []
    import torch

    if torch.cuda.is_available():
        gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "gpus": gpus,
        "system": f"{platform.system()} {platform.machine()}",
    }


def ticks() -> tuple[int, int] | None:
    """Busy and all ticks of all processors since the start; time that a host took away counts as busy."""
    try:
        words = STAT.read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return None
    ticks = [int(word) for word in words]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
