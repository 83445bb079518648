"""Corral's own API: what its JSON looks like, and which status each fault has. Shared by invoke and manage."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from corral import errors
from corral.errors import CorralError, Invalid, LoadFailed
from corral.model import FunctionSpec, Style

FAULTS: dict[type[CorralError], tuple[int, str]] = {
    errors.Invalid: (400, "invalid"),
    errors.BadRequest: (400, "bad_request"),
    errors.Unauthenticated: (401, "unauthenticated"),
    errors.Forbidden: (403, "forbidden"),
    errors.NotFound: (404, "not_found"),
    errors.Conflict: (409, "conflict"),
    errors.BodyTooLarge: (413, "body_too_large"),
    errors.QueueFull: (429, "queue_full"),
    errors.FunctionFailed: (500, "function_failed"),
    errors.LoadFailed: (502, "load_failed"),
    errors.InstanceLost: (502, "instance_lost"),
    errors.BadResponse: (502, "bad_response"),
    errors.StartTimeout: (503, "start_timeout"),
    errors.Unavailable: (503, "unavailable"),
    errors.SandboxFailed: (503, "sandbox_failed"),
    errors.StoreFailed: (503, "store_failed"),
    errors.CallTimeout: (504, "call_timeout"),
}
"""Fault -> (status, code). The code is for scripts and never changes; the sentence is for people and may."""

DEPLOY_FAULTS = FAULTS | {errors.LoadFailed: (422, "load_failed")}
"""For the one who deploys, code that does not load is a mistake in what was sent."""

UNKNOWN_FAULT = (500, "internal")


def status_of(fault: CorralError, table: Mapping[type[CorralError], tuple[int, str]] = FAULTS) -> tuple[int, str]:
    """(status, code) of `fault`: of its class, or of the nearest one it is derived from."""
    for kind in type(fault).__mro__:
        found = table.get(kind)
        if found is not None:
            return found
    return UNKNOWN_FAULT


def error_body(fault: CorralError, code: str, request_id: str, *, for_owner: bool = False) -> bytes:
    """`{"error": {"code", "message", …}, "request_id"}`. Tracebacks are shown to the function's owner only."""
    error: dict[str, Any] = {"code": code, "message": fault.message}
    if isinstance(fault, Invalid):
        error["problems"] = fault.problems
    if for_owner and isinstance(fault, LoadFailed) and fault.traceback:
        error["traceback"] = fault.traceback
    return msgspec.json.encode({"error": error, "request_id": request_id})
