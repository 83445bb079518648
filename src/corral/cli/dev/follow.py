"""The functions' output and calls, live: a thread for each function, which ends with the process."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from corral.cli.client import Client, functions_path
from corral.cli.dev.events import Called, Event, Logged
from corral.cli.dev.reload import Served
from corral.cli.dev.traces import localised
from corral.errors import CorralError

FOR_DAYS_S = 7 * 86_400.0
AGAIN_S = 0.5
"""Before following again, when a part of the server was restarted."""
TOLD = "corral: "
"""Begins what an instance writes when it cannot load the code: the reloader has told of that."""


def follow(client: Client, function: Served, tell: Callable[[Event], None], tail: int) -> None:
    """Begin with the last `tail` lines."""
    follower = _Follower(client, function, tell)
    threading.Thread(target=follower.run, args=(tail,), daemon=True, name=f"follow {function.called}").start()


class _Follower:
    def __init__(self, client: Client, function: Served, tell: Callable[[Event], None]) -> None:
        self._client, self._function, self._tell = client, function, tell
        self._failed = ""
        """The instance that tells why it could not load."""

    def run(self, tail: int) -> None:
        while True:
            try:
                for line in self._lines(tail):
                    self._take(line)
            except CorralError:
                pass  # it is restarted, or ends: the main thread says which
            time.sleep(AGAIN_S)
            tail = 0

    def _lines(self, tail: int) -> Iterator[dict[str, Any]]:
        path = functions_path(self._function.namespace, self._function.name)
        answer = self._client.send("GET", f"/corral/v1{path}/logs?follow=1&calls=1&tail={tail}", timeout_s=FOR_DAYS_S)
        if answer.status != 200:
            answer.body()
            return
        for raw in answer.lines():
            yield json.loads(raw)

    def _take(self, line: dict[str, Any]) -> None:
        at, request = float(line["t"]), str(line.get("request") or "")
        call = line.get("call")
        if call is not None:
            self._tell(Called(at=at, function=self._function.called, request=request, **call))
            return
        text = str(line["line"])
        if not request and text.startswith(TOLD) and "source" not in line:
            self._failed = line["instance"]
        if request or line["instance"] != self._failed:
            shown = localised(text, self._function.code)
            self._tell(Logged(at=at, function=self._function.called, request=request, line=shown))
