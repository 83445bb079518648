"""How much memory there is for Corral and all that it runs: the machine's, or the least limit of a group around us."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from corral.sandbox.cgroups import find_mounts

MIB = 1024 * 1024
LIMITS = {"memory": "memory.limit_in_bytes", "v2": "memory.max"}
"""Mount of find_mounts -> file of a group's limit."""


OWN_PART, OWN_MAX_MIB = 0.05, 1024
"""What groups never get, so that too much of it in use ends a function and not Corral or the system."""


def for_groups_mib() -> float:
    """Page cache included, which the kernel gives back. More than any budget should be: builds are in there too."""
    total = memory_mib()
    return total - min(OWN_PART * total, OWN_MAX_MIB)


def memory_mib(proc: Path = Path("/proc")) -> float:
    """In MiB. `proc` is where the kernel tells of itself."""
    total = _total_mib((proc / "meminfo").read_text())
    return min([total, *_limits_mib((proc / "self/mounts").read_text(), (proc / "self/cgroup").read_text())])


def _total_mib(meminfo: str) -> float:
    fields = dict(line.split(":", 1) for line in meminfo.splitlines())
    return int(fields["MemTotal"].split()[0]) / 1024


def _limits_mib(mounts: str, groups: str) -> Iterator[float]:
    """Of every group from the mount down to ours, where there is a limit. In a container the mount is its own group,
    and the path of ours may name folders that can't be seen from inside."""
    own = _paths(groups)
    for name, point in find_mounts(mounts).items():
        if name not in LIMITS or name not in own:
            continue
        folder = Path(point)
        for part in ["", *own[name].strip("/").split("/")]:
            folder /= part
            # No such folder or file, or `max`.
            with contextlib.suppress(OSError, ValueError):
                yield int((folder / LIMITS[name]).read_text()) / MIB


def _paths(groups: str) -> dict[str, str]:
    """From the text of /proc/self/cgroup: mount -> path of our group below it."""
    found: dict[str, str] = {}
    for line in groups.splitlines():
        number, controllers, path = line.split(":", 2)
        found |= {"v2": path} if number == "0" else dict.fromkeys(controllers.split(","), path)
    return found
