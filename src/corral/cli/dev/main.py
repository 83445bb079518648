"""The command `corral dev`."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from corral.cli.client import Client, functions_path
from corral.cli.dev.events import Event, Serving
from corral.cli.dev.follow import follow
from corral.cli.dev.reload import Reloader
from corral.cli.dev.server import PrivateServer
from corral.cli.dev.source import Source
from corral.cli.dev.terminal import JsonLines, Terminal
from corral.errors import NotFound

FIRST_LINES = 1000
"""Of the log of a function on a server of its own, where all lines are new."""

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Tell = Callable[[Event], None]


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(0, 65_535), metavar="N", help="[8080 if it is free, else any]")
@click.option("--server", metavar="URL", help="Deploy to this running server instead of a private one.")
@click.option("-n", "--namespace", metavar="NS", help="[default, or what corral.toml says; dev with --server]")
@click.option("--json", "as_json", is_flag=True, help="Print each event as a line of JSON.")
def dev(path: Path, port: int | None, server: str | None, namespace: str | None, as_json: bool) -> None:
    """Serve PATH, a file or a folder, and serve it anew at each save; show calls, output and errors as they come.
    The server is a private one, which ends with Ctrl-C and leaves nothing."""
    source = Source(path, namespace or ("dev" if server else None))
    tell = (JsonLines() if as_json else Terminal()).tell
    for number in ENDINGS:
        signal.signal(number, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):  # which is how it is meant to end
        if server is None:
            with PrivateServer(port) as private:
                _serve(private.client, source, tell, FIRST_LINES, private.check)
        else:
            with _leaving_nothing(Client(server), namespace or "dev") as client:
                _serve(client, source, tell, 0, lambda: None)


def _serve(client: Client, source: Source, tell: Tell, tail: int, check: Callable[[], None]) -> None:
    """For ever. `check` raises when the server is no more."""
    tell(Serving(at=time.time(), url=client.url))
    reloader = Reloader(client, source, tell, lambda served: follow(client, served, tell, tail))
    try:
        reloader.reload()
        for has_changed in source.changes():
            if has_changed:
                reloader.reload()
            check()
    finally:
        # A second Ctrl-C would leave half of it behind, and the end takes a moment only.
        for number in ENDINGS:
            signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def _leaving_nothing(client: Client, namespace: str) -> Iterator[Client]:
    """At the end the functions are removed that were not there before. One that was stays as it was saved last."""
    before = _names(client, namespace)
    try:
        yield client
    finally:
        for name in _names(client, namespace) - before:
            with contextlib.suppress(NotFound):
                client.manage("DELETE", functions_path(namespace, name))


def _names(client: Client, namespace: str) -> set[str]:
    return {function["name"] for function in client.manage("GET", functions_path(namespace))["functions"]}
