"""The files of groups: read, written, opened, removed."""

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping, Sequence

CPU_PERIOD_US = 100_000
CPU_QUOTA_MIN_US = 1_000
"""The kernel refuses less."""
SWEEP_MAX_S = 3.0
MIB = 1024 * 1024


def quota_us(cpu: float) -> int:
    return max(CPU_QUOTA_MIN_US, round(cpu * CPU_PERIOD_US))


def read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 16_384).decode()
    finally:
        os.close(fd)


def write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def field(path: str, name: str) -> int:
    return number(read(path), name)


def number(text: str, name: str) -> int:
    """Of lines of `name value`; 0 when this kernel has no such line."""
    found = re.search(rf"^{name} (\d+)$", text, re.MULTILINE)
    return int(found[1]) if found else 0


def open_all(paths: Iterator[str] | Sequence[str]) -> Sequence[int]:
    opened: list[int] = []
    try:
        for path in paths:
            opened.append(os.open(path, os.O_WRONLY | os.O_CLOEXEC))  # noqa: PERF401 (kept for the way back)
    except OSError:
        for fd in opened:
            os.close(fd)
        raise
    return opened


def count_paths(pid: int, path: str) -> int:
    """In how many hierarchies the process is in the group of that path, of ours and below. What stands before it
    depends on where the hierarchies are mounted and on who asks."""
    return sum(line.endswith(path) for line in read(f"/proc/{pid}/cgroup").splitlines())


def kill_members(folder: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        for pid in read(f"{folder}/cgroup.procs").split():
            # 0 stands for a process we cannot see; signalling it would be signalling ourselves.
            with contextlib.suppress(ProcessLookupError):
                if int(pid) > 0:
                    os.kill(int(pid), signal.SIGKILL)


@contextlib.contextmanager
def all_or_none(folders: Sequence[str]) -> Iterator[None]:
    """Make them; where that or what follows is refused, none is left."""
    made: list[str] = []
    try:
        for folder in folders:
            os.mkdir(folder)
            made.append(folder)
        yield
    except OSError:
        remove_all(made)
        raise


def remove_all(folders: Sequence[str] | Mapping[str, None]) -> bool:
    gone = True
    for folder in folders:
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            continue
        except OSError:
            gone = False
    return gone


def sweep(tops: Sequence[str]) -> int:
    """Deepest first, again and again until the kernel has let go of everything."""
    seen: set[str] = set()
    deadline = time.monotonic() + SWEEP_MAX_S
    while True:
        folders = [folder for top in tops for folder, _, _ in os.walk(top, topdown=False)]
        seen |= {os.path.basename(folder) for folder in folders if folder not in tops}
        for folder in folders:
            kill_members(folder)
        if remove_all(folders) or time.monotonic() > deadline:
            return len(seen)
        time.sleep(0.005)
