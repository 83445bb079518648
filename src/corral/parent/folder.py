"""The two folders of a running server: DATA, which outlives it, and RUN, which holds its sockets."""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from corral.errors import BadConfiguration, DataFolderBusy

SOCKET_PATH_MAX_BYTES = 107
"""sun_path less its final NUL."""
LONGEST_SOCKET = "/i/" + "s" * 24 + ".sock"
KNOWN = frozenset(
    {
        "lock",
        "config.toml",
        "packages",
        "layers",
        "builds",
        "code",
        "logs",
        "uploads",
        "corral.db",
        "corral.db-wal",
        "corral.db-shm",
    }
)
"""What may lie in a folder for Corral to take it as its own before it holds a `lock`."""


def default_data(environment: Mapping[str, str]) -> Path:
    """/var/lib/corral for root, else the user's data folder as the XDG specification says."""
    if os.geteuid() == 0:
        return Path("/var/lib/corral")
    return Path(environment.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "corral"


def open_data(path: Path, owner: int) -> int:
    """Make the data folder (0700, of user `owner`, which is None of our business when not root) and lock it.
    The descriptor returned holds the lock until the last process that inherits it has ended.
    Raises BadConfiguration when the folder cannot be ours, DataFolderBusy when another server holds it."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = set(os.listdir(path))
        belongs_to = path.stat().st_uid
    except OSError as exc:
        raise BadConfiguration(f"data = {path}, must be a folder Corral can write to: {exc.strerror}") from exc
    if "lock" not in names and not names <= KNOWN:
        other = sorted(names - KNOWN)[0]
        raise BadConfiguration(f"data = {path}, must be empty or a data folder of Corral; it holds {other!r}")
    if "lock" in names:
        # First of all: of a folder in use nothing else matters.
        os.close(_lock(path))
    if belongs_to not in (os.geteuid(), owner):
        ours = f"user {os.geteuid()}" + (f" or {owner}, the engine's" if owner != os.geteuid() else "")
        raise BadConfiguration(f"data = {path}, must belong to {ours}; it belongs to user {belongs_to}")
    lock = _lock(path)
    try:
        _hand_over(path, owner)
    except OSError as exc:
        os.close(lock)
        raise BadConfiguration(f"data = {path}, must be a folder Corral can write to: {exc.strerror}") from exc
    return lock


def _lock(path: Path) -> int:
    try:
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise BadConfiguration(f"data = {path}, must be a folder Corral can write to: {exc.strerror}") from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        holder = os.pread(lock, 20, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise DataFolderBusy(
            f"data = {path} is held by another Corral, process {holder}; stop it or choose another --data"
        ) from exc
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _hand_over(path: Path, owner: int) -> None:
    path.chmod(0o700)
    for name in ("logs", "layers", "builds"):
        with contextlib.suppress(FileExistsError):
            (path / name).mkdir(mode=0o700)
    if os.geteuid() != 0:
        return
    os.chown(path, owner, owner)
    # The keeper writes there as root: the folders must not be the engine's, or a broken one could aim those writes.
    for name in ("logs", "layers", "builds"):
        descriptor = os.open(path / name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            os.fchown(descriptor, 0, owner)
            os.fchmod(descriptor, 0o750)
        finally:
            os.close(descriptor)


def make_run(name: str, environment: Mapping[str, str], door: int) -> Path:
    """The folder for sockets, new and empty. `name` is that of the data folder, whose lock we hold: what lies there is
    a dead server's. `door` is the user of the gateway, who may look up sockets in it.
    Raises BadConfiguration when no place will do."""
    problems = []
    for path in _run_places(name, environment):
        if len(os.fsencode(str(path) + LONGEST_SOCKET)) > SOCKET_PATH_MAX_BYTES:
            problems.append(f"{path} is too long for a socket's path")
            continue
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            remove_run(path)
            path.mkdir(mode=0o700)
            (path / "i").mkdir(mode=0o700)
            (path / "root").mkdir(mode=0o700)
            if os.geteuid() == 0:
                for folder in (path, path / "i"):
                    os.chown(folder, 0, door)
                    folder.chmod(0o710)
        except OSError as exc:
            problems.append(f"{path}: {exc.strerror}")
            continue
        return path
    raise BadConfiguration("no folder for sockets: " + "; ".join(problems))


def _run_places(name: str, environment: Mapping[str, str]) -> list[Path]:
    places = [Path(tempfile.gettempdir()) / f"corral-{os.geteuid()}-{name}", Path(f"/tmp/corral-{os.geteuid()}-{name}")]
    if os.geteuid() == 0:
        return [Path("/run/corral") / name, *places]
    if environment.get("XDG_RUNTIME_DIR"):
        return [Path(environment["XDG_RUNTIME_DIR"]) / "corral" / name, *places]
    return places


def remove_run(path: Path) -> None:
    """Remove a RUN folder if it is there and ours; PermissionError when somebody else put something in its place."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(1, "exists and is not ours")
    shutil.rmtree(path)
