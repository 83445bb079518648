"""The listening sockets. The parent makes them, so connections queue while a process behind one is restarted."""

import errno
import os
import socket
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from corral.config import Server
from corral.errors import BadConfiguration

BACKLOG = 1024


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(server: Server) -> None:
    """Raises BadConfiguration when there is no such address, or when others could reach a server that does not ask
    them who they are."""
    _address(server)
    if not is_loopback(server.host) and server.auth != "all":
        raise BadConfiguration(
            f"server.host = {server.host} can be reached from other machines and server.auth = {server.auth}; "
            "must be --auth all there, so that every call needs a token, or --host 127.0.0.1"
        )


def listen_public(server: Server) -> socket.socket:
    """The TCP socket that clients connect to. Raises BadConfiguration: port in use, no such address."""
    family, kind, protocol, address = _address(server)
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as exc:
        listener.close()
        raise BadConfiguration(_why_not(server, exc)) from exc
    listener.setblocking(False)
    return listener


def _address(server: Server) -> tuple[int, int, int, Any]:
    """Family, kind, protocol and address of the socket. Raises BadConfiguration when the host is not known."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as exc:
        raise BadConfiguration(f"server.host = {server.host}, must be an address of this machine") from exc
    return family, kind, protocol, address


def _why_not(server: Server, exc: OSError) -> str:
    if exc.errno == errno.EADDRINUSE:
        return f"server.port = {server.port} is in use by another program; choose another --port, or 0 for a free one"
    if exc.errno == errno.EACCES:
        return f"server.port = {server.port}, must be 1024 or above without root"
    return f"server.host = {server.host}, must be an address of this machine: {exc.strerror}"


def url_of(listener: socket.socket, host: str) -> str:
    """Where this machine's own clients find the server. A wildcard address is reached over loopback."""
    port = listener.getsockname()[1]
    if host in ("0.0.0.0", "::", ""):
        host = "127.0.0.1" if listener.family == socket.AF_INET else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def listen_unix(path: Path, user: int) -> socket.socket:
    """A unix socket that `user` and root may connect to, nobody else."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mode must be right from the first moment: between bind and chmod anybody could connect.
    earlier = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(earlier)
    if os.geteuid() == 0:
        os.chown(path, user, user)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener
