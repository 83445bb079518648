"""One call from event to answer, for functions that are not async: call it, turn its result into frames."""

from typing import Any, Callable, Dict

from . import frames, logs, results
from .request import BadBody, Event
from .styles import Handler


class Cancelled(Exception):
    """Nobody waits for this answer any more."""


class ConnectionLost(Exception):
    """The gateway is gone; the answer has nowhere to go."""


Send = Callable[[bytes], Any]
Reserve = Callable[[int], Any]


def answer(call: int, event: Event, handler: Handler, send: Send, reserve: Reserve) -> None:
    """Exactly one frame with LAST is sent, unless ConnectionLost is raised. `reserve(n)` waits until n more body bytes
    may be sent; it may raise Cancelled or ConnectionLost."""
    log = logs.CallLog(event.request_id)
    token = logs.enter_call(log)
    try:
        response = results.respond(handler.call(event), handler.style)
        log.flush()  # before the answer: who has it finds the log complete
        if response.stream is None and len(response.body) <= frames.PAYLOAD_MAX:
            send(frames.head(call, response.status, response.lines, response.body, True))
        else:
            _transmit(call, response, send, reserve)
    except ConnectionLost:
        raise
    except BadBody as exc:
        send(bad_body(call, event, exc))
    except BaseException as exc:  # SystemExit too: an instance ends by its keeper only
        if not isinstance(exc, Cancelled):
            logs.write_failure(exc)
        log.flush()
        send(frames.failure(call, exc))
    finally:
        log.flush()
        logs.leave_call(token)


def _transmit(call: int, response: results.Response, send: Send, reserve: Reserve) -> None:
    """A body of several frames, a stream, or both. A stream ends with an empty BODY."""
    stream = response.stream
    try:
        pieces = list(frames.pieces(response.body)) or [b""]
        last = len(pieces) - 1
        for place, piece in enumerate(pieces):
            reserve(len(piece))
            ends = place == last and stream is None
            if place == 0:
                send(frames.head(call, response.status, response.lines, piece, ends))
            else:
                send(frames.frame(frames.BODY, frames.LAST if ends else 0, call, piece))
        if stream is None:
            return
        for chunk in stream:
            for piece in frames.pieces(results.chunk_bytes(chunk)):
                reserve(len(piece))
                send(frames.frame(frames.BODY, 0, call, piece))
        send(frames.frame(frames.BODY, frames.LAST, call))
    finally:
        close = getattr(stream, "close", None)
        if close is not None:
            close()  # a generator left half-way runs its `finally` now, inside its call


def bad_body(call: int, event: Event, exc: BadBody) -> bytes:
    """In the form of the gateway's own refusals."""
    body: Dict[str, Any] = {"error": {"code": "bad_request", "message": str(exc)}, "request_id": event.request_id}
    response = results.respond(body, "handler")
    return frames.head(call, 400, response.lines, response.body, True)
