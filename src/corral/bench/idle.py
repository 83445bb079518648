"""What processes do that have nothing to do: how often they wake, and what that costs."""

import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from corral.bench.processes import Process, permanent, tree


class Rest(msgspec.Struct, frozen=True):
    """Of some processes together, while nobody called them."""

    wakeups_per_s: float
    """Times a thread of theirs went to sleep again."""
    cpu_ms_per_s: float


def at_rest(root: int, seconds: float) -> Rest:
    """Of the permanent processes below `root`, watched for so long."""
    before = permanent(tree(root))
    waked = switches(before.values())
    began = time.monotonic()
    time.sleep(seconds)
    span = time.monotonic() - began
    after = permanent(tree(root))
    cpu_s = sum(after[role].cpu_s - process.cpu_s for role, process in before.items() if role in after)
    return Rest((switches(before.values()) - waked) / span, cpu_s / span * 1000)


def switches(processes: Iterable[Process]) -> int:
    """Voluntary context switches of all their threads so far: each is the end of one awakening."""
    count = 0
    for process in processes:
        for status in Path(f"/proc/{process.pid}/task").glob("*/status"):
            try:
                text = status.read_text()
            except OSError:  # the thread ended meanwhile
                continue
            count += int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return count
