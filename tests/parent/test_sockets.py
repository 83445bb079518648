"""What may be listened on, and what is said when it may not."""

import os
import re
import socket
from pathlib import Path

import pytest

from corral.config import Server
from corral.errors import BadConfiguration
from corral.parent.sockets import check_exposure, listen_public, listen_unix, url_of


def test_port_in_use_is_a_sentence() -> None:
    with listen_public(Server(port=0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(BadConfiguration, match=f"server.port = {port} is in use by another program; choose"):
            listen_public(Server(port=port))


@pytest.mark.parametrize("host", ["203.0.113.9", "no.such.host.invalid"])
def test_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(BadConfiguration, match=f"server.host = {re.escape(host)}, must be an address of this machine"):
        listen_public(Server(host=host, port=0))


@pytest.mark.parametrize(
    ("host", "auth"), [("0.0.0.0", "management"), ("::", "management"), ("203.0.113.9", "management")]
)
def test_open_host_needs_authentication(host: str, auth: str) -> None:
    with pytest.raises(BadConfiguration, match="must be --auth all there"):
        check_exposure(Server(host=host, auth=auth))


def test_host_that_is_no_address_is_named_before_its_exposure() -> None:
    with pytest.raises(
        BadConfiguration, match=r"server.host = not.an.addr.invalid, must be an address of this machine"
    ):
        check_exposure(Server(host="not.an.addr.invalid"))


@pytest.mark.parametrize(
    ("host", "auth"),
    [
        ("127.0.0.1", "management"),
        ("127.9.9.9", "management"),
        ("::1", "management"),
        ("localhost", "management"),
        ("0.0.0.0", "all"),
    ],
)
def test_loopback_and_authenticated_hosts_are_fine(host: str, auth: str) -> None:
    check_exposure(Server(host=host, auth=auth))


def test_wildcard_address_is_reached_over_loopback() -> None:
    with listen_public(Server(host="0.0.0.0", port=0)) as listener:
        assert url_of(listener, "0.0.0.0") == f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_unix_socket_is_for_its_user_alone(tmp_path: Path) -> None:
    path = Path(os.path.relpath(tmp_path / "s.sock"))
    with listen_unix(path, os.geteuid()), socket.socket(socket.AF_UNIX) as client:
        assert path.stat().st_mode & 0o777 == 0o600
        client.connect(str(path))
