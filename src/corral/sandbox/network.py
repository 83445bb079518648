"""Network namespaces with nothing in them but a loopback."""

import fcntl
import os
import socket
import struct
import threading

from corral.sandbox import syscalls

_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


def loopback_namespace() -> int:
    """A new network namespace, by descriptor; it lives as long as that or a process in it. Moves the calling thread
    there and back, so it is for a thread that nobody else uses meanwhile."""
    home = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        try:
            _raise_loopback()
            return os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            syscalls.setns(home, syscalls.CLONE_NEWNET)
    finally:
        os.close(home)


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))
