"""The gateway process: composes the data plane and runs it until it is told to stop.

Everything long-lived is in one task group. At SIGTERM nothing is accepted any more, idle connections are closed, and
the requests in flight get DRAIN_S to be answered; connections that are not accepted wait in the parent's socket for
the next gateway. A second SIGTERM ends the process at once."""

import asyncio
import contextlib
import ctypes
import gc
import importlib
import logging
import os
import random
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from corral.api.native import invoke
from corral.config import Boot, read_boot
from corral.gateway.activator import Activator
from corral.gateway.door import Handler
from corral.gateway.doors import Doors
from corral.gateway.engine import EngineLink
from corral.gateway.http import RequestIds
from corral.gateway.pages import Metrics, healthz
from corral.gateway.relay import Relay
from corral.gateway.routes import Routes
from corral.gateway.stats import Stats
from corral.model import GatewayId
from corral.observe import logs

log = logging.getLogger("corral.gateway")

SYNC_WAIT_S = 1.0
"""How long a new gateway waits for its routes before it accepts: those it does not know by then are answered 503."""
DRAIN_S = 1.5
"""How long requests in flight may go on at a stop. Less than the parent's patience with the gateway."""
BACKLOG = 4096
_PR_SET_PDEATHSIG = 1


class Gateway:
    """All parts, composed. `listener` is a listening TCP socket."""

    def __init__(self, boot: Boot, listener: socket.socket, rng: random.Random) -> None:
        settings = boot.settings
        self._listener = listener
        self.stats = Stats()
        self.engine = EngineLink(f"{boot.run}/link.sock", GatewayId(f"gateway-{rng.getrandbits(48):012x}"))
        self.activator = Activator(self.engine.tell, self.stats, settings.gateway.window_bytes)
        private = settings.server.auth == "all"
        self.routes = Routes(self.activator, self.stats, boot.admin_token_sha256, private)
        self.engine.serve(self.routes, self.activator)
        self.relay = Relay(f"{boot.run}/api.sock", invoke.explain, settings.gateway.relay_timeout_s)
        self.metrics = Metrics(self.stats, self.routes, self.relay, invoke.explain)
        handlers: dict[bytes, Handler] = {
            invoke.PREFIX: invoke.Invoke(self.routes, self.activator),
            b"/corral/v1/": self.relay,
            b"/healthz": healthz,
            b"/metrics": self.metrics,
        }
        self.doors = Doors(settings.gateway, handlers, invoke.explain, RequestIds(rng), self.stats)
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Let `run` finish what is in flight and return."""
        self._stop.set()

    async def run(self) -> None:
        """Serve until told to stop, or cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                services = [
                    group.create_task(self.engine.run(), name="link to the engine"),
                    group.create_task(self.engine.report(), name="report what was seen"),
                    group.create_task(self.doors.run(), name="sweep connections"),
                ]
                await self.engine.synced(SYNC_WAIT_S)
                server = await asyncio.get_running_loop().create_server(
                    self.doors.make, sock=self._listener, backlog=BACKLOG
                )
                log.info("gateway serves", extra={"address": self._listener.getsockname()[:2]})
                try:
                    await self._stop.wait()
                finally:
                    server.close()
                await self.doors.drain(DRAIN_S)
                for service in services:
                    service.cancel()
        finally:
            self.relay.close()
            self.metrics.close()
            self.doors.close()
            self.activator.close()


async def _until_told(gateway: Gateway) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None

    def told(number: signal.Signals) -> None:
        gateway.stop()
        loop.add_signal_handler(number, task.cancel)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told, number)
    # What exists now lives as long as the process: the collector need not look at it again. A call leaves no cycles,
    # so young collections can be rare.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
    await gateway.run()


def _die_with(parent_pid: int) -> None:
    """Ask the kernel for SIGKILL when the parent dies; end now if it has died already."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        sys.exit("the parent is gone")


def _runner() -> Callable[[Coroutine[Any, Any, None]], None]:
    """uvloop's where it is installed, else asyncio's."""
    with contextlib.suppress(ImportError):
        run: Callable[[Coroutine[Any, Any, None]], None] = importlib.import_module("uvloop").run
        return run
    return asyncio.run


def main() -> None:
    boot = read_boot(os.environ)
    _die_with(boot.parent_pid)
    logs.set_up("gateway")
    listener = socket.socket(fileno=boot.fds["public"])
    listener.setblocking(False)
    gateway = Gateway(boot, listener, random.Random(os.urandom(16)))
    with contextlib.suppress(asyncio.CancelledError, KeyboardInterrupt):
        _runner()(_until_told(gateway))


if __name__ == "__main__":
    main()
