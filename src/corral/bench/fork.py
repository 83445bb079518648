"""The program of the floor: the least a cold start by fork can cost. The runtime's own warm interpreter, which for each
byte it is sent makes a process in new pid, mount, ipc, uts and network namespaces that answers with a byte. No user, no
limits, no groups, no filter, no mounts, no function: only the fork and the namespaces.

Run by itself, `python -I -S fork.py DESCRIPTOR RUNTIMES`. It loads what a zygote loads, because the price of a fork
grows with what the parent holds: the fork of an empty interpreter would be the floor of another system."""

import ctypes
import gc
import importlib
import os
import socket
import sys
import types

NEW_MOUNTS = 0x0002_0000
NEW_UTS = 0x0400_0000
NEW_IPC = 0x0800_0000
NEW_PIDS = 0x2000_0000
NEW_NET = 0x4000_0000

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def load_runtime(folder: str) -> None:
    """As runtimes/python/zygote.py does, without the hooks around forks as there: the floor must not be slower than the
    fork it is the floor of."""
    package = types.ModuleType("_corral")
    package.__path__ = [folder]
    sys.modules["_corral"] = package
    hooks = importlib.import_module("_corral.python.hooks")
    hooks.import_without_hooks("threading", "logging", "concurrent.futures.thread")
    importlib.import_module("_corral.python.forking")


def serve(pair: socket.socket) -> None:
    own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY)
    gc.disable()
    gc.freeze()
    # The first one shows whether this machine allows it, before anything is measured.
    fork(pair, own_pids)
    while pair.recv(1):
        fork(pair, own_pids)


def fork(pair: socket.socket, own_pids: int) -> None:
    check(libc.unshare(NEW_PIDS))
    child = os.fork()
    if child == 0:
        check(libc.unshare(NEW_MOUNTS | NEW_IPC | NEW_UTS | NEW_NET))
        pair.send(b"!")
        os._exit(0)
    check(libc.setns(own_pids, NEW_PIDS))
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise OSError("the child could not enter new namespaces")


if __name__ == "__main__":
    load_runtime(sys.argv[2])
    serve(socket.socket(fileno=int(sys.argv[1])))
