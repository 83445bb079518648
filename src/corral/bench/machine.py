"""What a table of numbers must carry: the machine and the programs they came from."""

import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    kernel: str
    cpu: str
    cores: int
    memory_mib: int
    python: str
    corral: str
    command: str
    isolation: str
    """The sandbox tier in use, as `/healthz` or the metrics name it; `unknown` where they do not."""
    load_before: float
    """Load average over one minute before the first row: above about 0.2 something else was running."""
    quick: bool
    """Fewer calls than the rows ask for: a look, not a measurement."""


def describe(argv: Sequence[str], *, isolation: str, quick: bool) -> Machine:
    return Machine(
        kernel=f"{platform.system()} {platform.release()}",
        cpu=_cpu(Path("/proc/cpuinfo").read_text()),
        cores=len(os.sched_getaffinity(0)),
        memory_mib=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20,
        python=sys.version.split()[0],
        corral=version("corral"),
        command=" ".join(argv),
        isolation=isolation,
        load_before=os.getloadavg()[0],
        quick=quick,
    )


def _cpu(cpuinfo: str) -> str:
    """The model as the kernel names it; the architecture where it names none (many ARM machines)."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
