"""Who may send management requests at all: those whose Host and Origin no other site can have chosen."""

import ipaddress
from urllib.parse import urlsplit

from corral.errors import Forbidden


def check_host(hosts: list[str], origins: list[str], configured: str) -> None:
    """Against DNS rebinding: a page of another site can make a browser send requests here, but not choose these two
    fields. A name that an attacker's DNS could point at us is refused; an address can't be pointed anywhere.
    Raises Forbidden."""
    if len(hosts) != 1:
        raise Forbidden(f"{len(hosts)} Host fields were sent, must be one")
    name = _name_of(hosts[0])
    if name not in ("localhost", configured.lower()) and not _is_address(name):
        raise Forbidden(f"Host = {hosts[0][:80]!r}, must be localhost, an IP address or {configured!r}")
    for origin in origins:
        if _authority_of(origin) != hosts[0].lower():
            raise Forbidden(f"Origin = {origin[:80]!r}, must be that of Host {hosts[0][:80]!r}")


def _authority_of(origin: str) -> str | None:
    """Host and port, in lower case; None: it has none that could be read."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _name_of(host: str) -> str:
    """Without port and brackets, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
