"""The server as the commands see it: requests out, values or faults back."""

import http.client
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

from corral import errors
from corral.parent.token import token_file

DEFAULT_URL = "http://127.0.0.1:8080"
TIMEOUT_S = 660.0
"""A deployment installs what the function needs and loads its code; this only ends what hangs, after the server
itself has given up."""

FAULT_BY_CODE: dict[str, type[errors.CorralError]] = {
    "invalid": errors.Invalid,
    "bad_request": errors.BadRequest,
    "unauthenticated": errors.Unauthenticated,
    "forbidden": errors.Forbidden,
    "not_found": errors.NotFound,
    "conflict": errors.Conflict,
    "body_too_large": errors.BodyTooLarge,
    "load_failed": errors.LoadFailed,
    "unavailable": errors.Unavailable,
}
"""Any other code is a CorralError with the server's own sentence."""


class Answer:
    """A response whose head is read. The body is read once, whole or by lines."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._response = response
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}

    def body(self) -> bytes:
        try:
            return self._response.read()
        except (http.client.HTTPException, OSError) as exc:
            raise errors.Unavailable(f"the answer broke off: {exc}") from exc
        finally:
            self._connection.close()

    def lines(self) -> Iterator[bytes]:
        try:
            yield from self._response
        except (http.client.HTTPException, OSError) as exc:
            raise errors.Unavailable(f"the answer broke off: {exc}") from exc
        finally:
            self._connection.close()


class Client:
    """Speaks to one server with one token; a connection for each request."""

    def __init__(self, url: str | None = None, environment: Mapping[str, str] = os.environ) -> None:
        self.url = (url or environment.get("CORRAL_URL") or DEFAULT_URL).rstrip("/")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not _has_port(parts):
            raise errors.Invalid(f"url = {self.url!r}, must be http://HOST:PORT or https://HOST:PORT")
        self._parts = parts
        self._token = environment.get("CORRAL_TOKEN") or self._token_left_by_up(environment)

    def _token_left_by_up(self, environment: Mapping[str, str]) -> str | None:
        file = token_file(self.url, environment)
        try:
            return file.read_text().strip()
        except OSError:
            return None

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Answer:
        """Any request; the answer whatever its status. Raises Unavailable when there is no server."""
        sent = dict(headers or {})
        if self._token and not any(name.lower() == "authorization" for name in sent):
            sent["Authorization"] = f"Bearer {self._token}"
        secure = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=timeout_s)
        try:
            connection.request(method, self._parts.path + path, body=body, headers=sent)
            return Answer(connection, connection.getresponse())
        except (http.client.HTTPException, OSError) as exc:
            connection.close()
            reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc) or type(exc).__name__
            raise errors.Unavailable(
                f"no answer from {self.url}: {reason}; `corral up` starts a server, --url or CORRAL_URL names another"
            ) from exc

    def manage(self, method: str, path: str, value: Any = None, body: bytes | None = None) -> Any:
        """A management request; its JSON, None when there is none. `path` follows /corral/v1.
        Raises the fault that the server names."""
        headers = {}
        if value is not None:
            body, headers = json.dumps(value).encode(), {"Content-Type": "application/json"}
        answer = self.send(method, "/corral/v1" + path, body, headers)
        content = answer.body()
        if answer.status >= 300:
            raise fault_of(answer.status, content)
        return json.loads(content) if content else None


def _has_port(parts: SplitResult) -> bool:
    """Whether its port, if there is one, is a port's number."""
    try:
        return parts.port is None or parts.port > 0
    except ValueError:
        return False


def fault_of(status: int, content: bytes) -> errors.CorralError:
    """The fault a response of ours describes: {"error": {"code", "message", …}}."""
    try:
        error = json.loads(content)["error"]
        code, message = str(error["code"]), str(error["message"])
        traceback, output = str(error.get("traceback") or ""), str(error.get("output") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        said = content.decode(errors="replace").strip()[:500]
        return errors.CorralError(f"status {status}, which is no answer of a Corral server: {said}")
    if code == "load_failed":
        return errors.LoadFailed(message, traceback=traceback)
    if code == "build_failed":
        return errors.BuildFailed(message, output=output)
    if status in (401, 403):
        message += "; set CORRAL_TOKEN, or call from the account that ran `corral up`"
    return FAULT_BY_CODE.get(code, errors.CorralError)(message)


def namespace_path(namespace: str) -> str:
    return f"/namespaces/{quote(namespace, safe='')}"


def functions_path(namespace: str, name: str = "") -> str:
    path = f"{namespace_path(namespace)}/functions"
    return f"{path}/{quote(name, safe='')}" if name else path
