"""The processes of a running Corral, seen from outside through /proc: who they are, what they hold, what they used."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

TICKS = os.sysconf("SC_CLK_TCK")


class Process(msgspec.Struct, frozen=True):
    pid: int
    parent: int
    command: str
    cpu_s: float
    """Of this process alone, since it began."""
    reaped_s: float = 0.0
    """Of those it started that have ended."""


def tree(root: int) -> list[Process]:
    """`root` and everything below it, parents before children; zombies left out."""
    children: dict[int, list[Process]] = {}
    found = {process.pid: process for process in _all()}
    for process in found.values():
        children.setdefault(process.parent, []).append(process)
    ordered = [found[root]] if root in found else []
    for process in ordered:  # grows while it is walked
        ordered += children.get(process.pid, [])
    return ordered


def _all() -> Iterator[Process]:
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            text = Path("/proc", name, "stat").read_text()
            command = Path("/proc", name, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # it ended meanwhile
            continue
        # The name in brackets may hold anything, brackets and spaces included: what follows the last one counts.
        fields = text.rpartition(")")[2].split()
        if fields[0] != "Z":
            user, system, reaped_user, reaped_system = (int(field) / TICKS for field in fields[11:15])
            own = max(user + system, _scheduled_s(name))
            yield Process(int(name), int(fields[1]), command, own, reaped_user + reaped_system)


def _scheduled_s(pid: str) -> float:
    """CPU seconds of the main thread, in nanoseconds: an instance that has used less than a tick shows none in `stat`.
    0.0 where the kernel does not say."""
    try:
        return int(Path("/proc", pid, "schedstat").read_text().split()[0]) / 1e9
    except (OSError, IndexError):
        return 0.0


def permanent(processes: list[Process]) -> dict[str, Process]:
    """Role -> process, of those that stay while nothing is called: parent, keeper, engine, gateway and zygotes.
    `processes` is a tree as `tree` gives it."""
    roles = {"parent": processes[0]} if processes else {}
    zygotes = 0
    for process in processes[1:]:
        role = _role(process.command)
        if role == "zygote":
            # Its instances keep its command line; they are its children, not the keeper's.
            if process.parent != roles.get("keeper", process).pid and _is_below_zygote(process, roles):
                continue
            zygotes += 1
            role = f"zygote {zygotes}"
        if role:
            roles.setdefault(role, process)
    return roles


def cpu_by_role(root: int) -> dict[str, float]:
    """CPU seconds so far of each permanent process, and of all `instances` together, ended ones included."""
    processes = tree(root)
    roles = permanent(processes)
    seconds = {role: process.cpu_s for role, process in roles.items()}
    stay = {process.pid for process in roles.values()}
    running = sum(process.cpu_s + process.reaped_s for process in processes if process.pid not in stay)
    ended = sum(process.reaped_s for role, process in roles.items() if role.startswith("zygote"))
    return {**seconds, "instances": running + ended}


def _role(command: str) -> str:
    for role in ("keeper", "engine", "gateway"):
        if f"corral.{role}.main" in command:
            return role
    return "zygote" if "zygote.py" in command else ""


def _is_below_zygote(process: Process, roles: dict[str, Process]) -> bool:
    return any(role.startswith("zygote") and process.parent == known.pid for role, known in roles.items())


def pss_mib(pid: int) -> float | None:
    """Proportional set size: shared pages divided among their users. None when it cannot be read."""
    try:
        text = Path("/proc", str(pid), "smaps_rollup").read_text()
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return None
