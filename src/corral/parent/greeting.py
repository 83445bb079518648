"""What `up` says once the server serves: asked of the server itself, over its own door, without blocking the parent."""

import json
import selectors
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from corral import __version__

PAUSE_S = 0.02
PATIENCE_S = 10.0
ANSWER_MAX_BYTES = 1024 * 1024


class Greeting:
    """Asks /corral/v1/status until it names the isolation tier. A call per 20 ms, and only while starting."""

    def __init__(self, url: str, token: str, selector: selectors.BaseSelector) -> None:
        self._url = url
        self._token = token
        self._selector = selector
        self._socket: socket.socket | None = None
        self._received = b""
        self._begun_at = time.monotonic()
        self.next_at: float | None = self._begun_at
        self.answer: dict[str, Any] | None = None

    def is_due(self, now: float) -> bool:
        return self.next_at is not None and self.next_at <= now and self._socket is None

    def ask(self) -> None:
        parts = urlsplit(self._url)
        self._received = b""
        self.next_at = None
        # The listener is ours and listens: connecting to it succeeds at once, whoever serves it.
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 80), timeout=1.0)
        self._socket.sendall(
            f"GET /corral/v1/status HTTP/1.1\r\nhost: {parts.netloc}\r\nconnection: close\r\n"
            f"authorization: Bearer {self._token}\r\n\r\n".encode()
        )
        self._socket.setblocking(False)
        self._selector.register(self._socket, selectors.EVENT_READ, self._receive)

    def _receive(self) -> None:
        assert self._socket is not None
        try:
            chunk = self._socket.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        self._received += chunk
        if chunk and len(self._received) < ANSWER_MAX_BYTES:
            return
        self._hang_up()
        status = self._read()
        # A machine on which the keeper never comes up still deserves its url.
        if status is not None and (status.get("tier") or time.monotonic() - self._begun_at > PATIENCE_S):
            self.answer = status
        else:
            self.next_at = time.monotonic() + PAUSE_S

    def _read(self) -> dict[str, Any] | None:
        head, _, body = self._received.partition(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0]:
            return None
        if b"transfer-encoding: chunked" in head.lower():
            body = b"".join(body.split(b"\r\n")[1::2])
        try:
            answer = json.loads(body)
        except ValueError:
            return None
        return answer if isinstance(answer, dict) else None

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        self._hang_up()
        self.next_at = None
        self.answer = None

    def lines(self, data: Path, token_file: Path) -> list[str]:
        """For the terminal."""
        assert self.answer is not None
        not_held = self.answer.get("not_held") or ["nothing"]
        return [
            f"Corral {__version__} serves at {self._url}",
            f"  isolation  {self.answer.get('tier') or 'unknown: the keeper has not come up'}",
            *(f"  {'not held' if place == 0 else '':9}  {line}" for place, line in enumerate(not_held)),
            f"  data       {data}",
            f"  token      {token_file}",
        ]
