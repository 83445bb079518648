"""The allow-list: what a process of ours sees of the host, as the plan that runtimes/enter.py carries out.

Everything else, the data folder and other users' files first of all, does not exist in there."""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import corral
from corral.errors import SandboxFailed

RUNTIMES = Path(corral.__file__).resolve().parent / "runtimes"
"""What runs inside instances; bound at INSIDE, since its place on the host may be anywhere."""
INSIDE = "/corral/runtimes"

Bind = tuple[str, str, Literal["ro", "rw"]]
"""Source on the host, target inside, and whether it may be written."""

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = (
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/alternatives",
    "/etc/mime.types",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki",
    "/etc/ca-certificates",
)
"""Read by libraries, without secrets. `/etc/ssl/private` is not among them."""
_DEVICES = ("null", "zero", "full", "random", "urandom")
_SYMLINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
    # shm_open looks there; /tmp is private to each instance and counts as its memory.
    "/dev/shm": "/tmp",
}


def root_plan(
    *,
    staging: Path,
    argv: Sequence[str],
    env: Mapping[str, str],
    binds: Iterable[Bind] = (),
    uid: int | None = None,
    gid: int | None = None,
    drop: bool = False,
    proc: Literal["bind", "new"] | None = "bind",
    pdeathsig: int | None = None,
    keep_fds: Iterable[int] = (),
) -> dict[str, Any]:
    """A plan for `enter_command`. `staging` is an empty folder, used by any number of roots at once; `binds` come on
    top of the system's folders. `drop`: no capabilities and no way to gain any. `pdeathsig`: the signal it gets
    when the thread that starts it ends."""
    symlinks = {path: os.readlink(path) for path in _SYSTEM if os.path.islink(path)}
    folders: list[Bind] = [(path, path, "ro") for path in _SYSTEM if os.path.isdir(path) and path not in symlinks]
    folders += [(os.path.realpath(path), path, "ro") for path in _ETC if os.path.exists(path)]
    return {
        "root": str(staging),
        "binds": folders + [bind for bind in _outermost_first(binds) if not _is_covered(bind, folders)],
        "files": _etc_files(uid),
        "symlinks": {**symlinks, **_SYMLINKS},
        "devices": [name for name in _DEVICES if os.path.exists(f"/dev/{name}")],
        "proc": proc,
        "uid": uid,
        "gid": gid,
        "drop": drop,
        "pdeathsig": pdeathsig,
        "parent_pid": os.getpid(),
        "argv": list(argv),
        "env": dict(env),
        "keep_fds": list(keep_fds),
    }


def own_binds() -> list[Bind]:
    """What a process of Corral's own needs to run as we do: interpreter, environment, and the package wherever it
    lies."""
    package = Path(corral.__file__).resolve().parent
    paths = [sys.base_prefix, sys.base_exec_prefix, sys.prefix, sys.exec_prefix, str(package)]
    # An editable install, or a venv in a symlinked folder: both spellings have to exist inside.
    paths += [os.path.realpath(path) for path in paths]
    return [(path, path, "ro") for path in dict.fromkeys(paths)]


def enter_command(plan: Mapping[str, Any]) -> tuple[list[str], list[int]]:
    """The command that carries out the plan, and the descriptors it must inherit under their numbers: the plan's own
    (close it after the start) and then `keep_fds`."""
    fd = os.memfd_create("corral-plan", os.MFD_CLOEXEC)
    with open(os.dup(fd), "wb") as file:
        file.write(json.dumps(plan).encode())
    os.lseek(fd, 0, os.SEEK_SET)
    argv = [os.path.realpath(sys.executable), "-I", "-S", str(RUNTIMES / "enter.py"), str(fd)]
    return argv, [fd, *plan["keep_fds"]]


def _outermost_first(binds: Iterable[Bind]) -> list[Bind]:
    """A folder before what lies in it: the other order would cover the inner one."""
    return sorted(dict.fromkeys(binds), key=lambda bind: bind[1].count("/"))


def _is_covered(bind: Bind, folders: Iterable[Bind]) -> bool:
    """Whether it is there already: the same path, below a folder that is bound. A writable one never is."""
    source, target, mode = bind
    if not os.path.isabs(source) or not os.path.isabs(target) or target == "/":
        raise SandboxFailed(f"bind {source} at {target}, must be absolute paths and not the whole root")
    return mode == "ro" and source == target and any(Path(target).is_relative_to(outer[1]) for outer in folders)


def _etc_files(uid: int | None) -> dict[str, str]:
    users = "root:x:0:0:root:/tmp:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/tmp:/usr/sbin/nologin\n"
    groups = "root:x:0:\nnogroup:x:65534:\n"
    if uid:
        users += f"corral:x:{uid}:{uid}:corral:/tmp:/usr/sbin/nologin\n"
        groups += f"corral:x:{uid}:\n"
    return {
        "/etc/passwd": users,
        "/etc/group": groups,
        "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
        "/etc/resolv.conf": _resolvers(),
    }


def _resolvers() -> str:
    """The host's, for functions on its network; the others reach nobody to ask."""
    try:
        return Path("/etc/resolv.conf").read_text(errors="replace")
    except OSError:
        return ""
