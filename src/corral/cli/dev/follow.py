"""The functions' output and calls, live: a thread for each function, which ends with the process."""

import contextlib
import json
import threading
import time
from collections.abc import Callable
from typing import Any

from corral.cli.client import Answer, Client, fault_of, functions_path
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
    """Begin with the last `tail` lines. What happens after this has returned is told."""
    follower = _Follower(client, function, tell)
    begun = None
    with contextlib.suppress(CorralError):  # then the thread tries again
        begun = follower.begin(tail)
    threading.Thread(target=follower.run, args=(begun,), daemon=True, name=f"follow {function.called}").start()


class _Follower:
    def __init__(self, client: Client, function: Served, tell: Callable[[Event], None]) -> None:
        self._client, self._function, self._tell = client, function, tell
        self._failed = ""
        """The instance that tells why it could not load."""

    def begin(self, tail: int) -> Answer:
        """Raises CorralError when the server or the function is away."""
        path = f"/corral/v1{functions_path(self._function.namespace, self._function.name)}/logs"
        answer = self._client.send("GET", f"{path}?follow=1&calls=1&tail={tail}", timeout_s=FOR_DAYS_S)
        if answer.status != 200:
            raise fault_of(answer.status, answer.body())
        return answer

    def run(self, begun: Answer | None) -> None:
        """For ever: a part of the server that is restarted comes back, a function that was removed may."""
        while True:
            with contextlib.suppress(CorralError):
                answer, begun = begun or self.begin(0), None
                for line in answer.lines():
                    self._take(json.loads(line))
            time.sleep(AGAIN_S)

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
