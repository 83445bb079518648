"""The life of an instance after the fork: dress, load, serve."""

import asyncio  # noqa: F401  imported here so that every instance shares its pages; 40 ms when done in each
import gc
import logging
import os
import socket
import sys
import time
from typing import Any, Dict, NoReturn

from . import dress, frames, hooks, jsontext, load, logs, orders, parking, serve

DRESS_FAILED = 90
LOAD_FAILED = 91
BROKEN = 92
"""Exit status after a peer that broke the rules of the protocol."""

ANNOUNCE_S = 10.0
"""How long an instance that could not load waits for somebody to tell it to."""


def live(order: orders.Order, wardrobe: dress.Wardrobe) -> NoReturn:
    """Never returns into the zygote, whatever happens. `order` is a `start`, or a `park`: then another one follows."""
    status = DRESS_FAILED
    fds, is_isolated = order.fds, order.message["isolated"]
    try:
        hooks.give_back()
        if order.message["op"] == "park":
            parking.wait(order, wardrobe)
        else:
            dress.prepare(is_isolated, fds, wardrobe)
        forked = time.monotonic()
        plan = jsontext.read(orders.take(fds, "plan"))
        stamps = dict(plan.get("stamps") or {}, forked=forked)
        code = orders.take(fds, "code")
        dress.finish(is_isolated, plan, fds, wardrobe)
        stamps["dressed"] = time.monotonic()
        status = LOAD_FAILED
        run(plan, code, stamps)
        status = 0
    except BaseException as exc:
        status = explain(exc, status, fds.get("log", 2))
    finally:
        os._exit(status)


def explain(exc: BaseException, status: int, log: int) -> int:
    """Why it ends, to its log; the status it ends with, if it would be `status`."""
    if isinstance(exc, frames.Broken):
        status, text = BROKEN, "the gateway broke the protocol: %s"
    else:
        text = "the sandbox could not be made: %s" if status == DRESS_FAILED else "cannot go on: %s"
    os.write(log, ("corral: " + text % (exc or type(exc).__name__) + "\n").encode("utf-8", "replace"))
    return status


def run(plan: Dict[str, Any], code: bytes, stamps: Dict[str, float]) -> None:
    try:
        loaded = load.load(plan, code)
    except load.LoadFailed as failed:
        write_failure(failed)
        _announce(failed)
        os._exit(LOAD_FAILED)
    logs.configure_logging()
    gc.freeze()
    gc.enable()
    stamps["loaded"] = time.monotonic()
    serve_loaded(loaded, plan, stamps)


def serve_loaded(loaded: load.Loaded, plan: Dict[str, Any], stamps: Dict[str, float]) -> None:
    """For ever. Raises frames.Broken."""
    concurrency = plan.get("concurrency") or (100 if loaded.handler.is_async else 1)
    serve.serve(dress.LISTEN_FD, loaded.handler, concurrency, serve.introduction(loaded, concurrency, stamps))


def write_failure(failed: load.LoadFailed) -> None:
    sys.stderr.write("corral: %s\n%s" % (failed, failed.traceback))
    sys.stderr.flush()
    logging.shutdown()


def _announce(failed: load.LoadFailed) -> None:
    """Tell whoever connects. Reads on until they close, so that the news is not lost with the socket."""
    news = frames.failed(str(failed), failed.traceback)
    listener = socket.socket(fileno=dress.LISTEN_FD)
    listener.settimeout(ANNOUNCE_S)
    try:
        connection, _ = listener.accept()
        connection.settimeout(1.0)
        connection.sendall(frames.hello(0) + news)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass
    except OSError:
        return
