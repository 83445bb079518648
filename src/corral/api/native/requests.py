"""What a request carries, read within bounds, and its refusal in the API's form."""

import asyncio
import contextlib
import re
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from corral.api.native import shapes
from corral.errors import BodyTooLarge, CorralError

JSON_MAX_BYTES = 16 * 1024 * 1024
"""A thousand functions with full environments fit."""
JSON_LARGE_BYTES = 1024 * 1024
"""Reading more would hold up everybody else for too long: a thread does it."""
DISCARD_MAX_BYTES = 512 * 1024 * 1024
DISCARD_MAX_S = 10.0
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")

Read = TypeVar("Read")


def id_of(request: Request) -> str:
    """The one it came with, if that is fit for headers and logs; else a new one."""
    sent = request.headers.get("x-request-id", "")
    return sent if REQUEST_ID.match(sent) else uuid.uuid4().hex


async def limited(request: Request, most: int) -> AsyncIterator[bytes]:
    """The body's parts; BodyTooLarge as soon as it is known to be."""
    fault = BodyTooLarge(f"the body is larger than {most} bytes, the most allowed here")
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > most:
        raise fault
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > most:
            raise fault
        if chunk:
            yield chunk


async def discard_body(request: Request) -> None:
    """Take in what is left of the body, up to a limit: closing a connection on unread bytes resets it, and the
    refusal would be lost on its way."""
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    if not has_body:
        return
    left = DISCARD_MAX_BYTES
    # RuntimeError: all of it was taken in before the fault.
    with contextlib.suppress(TimeoutError, ClientDisconnect, RuntimeError):
        async with asyncio.timeout(DISCARD_MAX_S):
            async for chunk in request.stream():
                left -= len(chunk)
                if left < 0:
                    return


async def sent(request: Request, read: Callable[[Any], Read]) -> Read:
    """The body's JSON, as `read` understands it."""
    body = b"".join([chunk async for chunk in limited(request, JSON_MAX_BYTES)])
    if len(body) <= JSON_LARGE_BYTES:
        return read(shapes.read_json(body))
    return await asyncio.to_thread(lambda: read(shapes.read_json(body)))


def number(request: Request, field: str, default: float, least: float, most: float) -> float:
    """The query's field. Raises Invalid."""
    return shapes.read_number(request.query_params.get(field), field, default, least, most)


def is_asked(request: Request, field: str) -> bool:
    """Whether the query has the field and means it."""
    return request.query_params.get(field, "0") not in ("0", "false", "")


def refusal(fault: CorralError, request_id: str) -> Response:
    status, code = shapes.status_of(fault, shapes.DEPLOY_FAULTS)
    response = Response(
        shapes.error_body(fault, code, request_id, for_owner=True), status, media_type="application/json"
    )
    if fault.retry_after_s is not None:
        response.headers["retry-after"] = str(max(1, round(fault.retry_after_s)))
    if status == 401:
        response.headers["www-authenticate"] = "Bearer"
    response.headers["x-request-id"] = request_id
    return response
