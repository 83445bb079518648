"""/corral/v1: management over HTTP. Each request passes, in this order: host and origin, token, right, form."""

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from corral.api.native import requests, shapes, views
from corral.api.native.origin import check_host
from corral.engine.catalog import Catalog
from corral.engine.demand import DAYS, Demand
from corral.engine.deployment import VERIFY_S, Asked, Deployer
from corral.engine.fleet import Fleet
from corral.engine.tokens import Tokens
from corral.errors import BadRequest, CorralError, Forbidden, NotFound, StoreFailed
from corral.model import FunctionKey, Revision, check_name, function_key
from corral.ports import Holder, Packages

log = logging.getLogger("corral.api.native.manage")

LISTED_AT_ONCE = 200
"""Functions that are made into JSON before everybody else on the loop has his turn."""
TAIL_MAX = 100_000
TIMEOUT_MAX_S = 3600.0
RECORD_MAX_S = 14 * 86_400.0

ReadLog = Callable[[FunctionKey, int, str | None, asyncio.Event | None], AsyncIterator[bytes]]


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What the API stands on."""

    catalog: Catalog
    deployer: Deployer
    fleet: Fleet
    tokens: Tokens
    demand: Demand
    packages: Packages
    read_log: ReadLog
    read_build_log: Callable[[FunctionKey], Awaitable[bytes | None]]
    metrics: Callable[[], Awaitable[bytes]]
    status: Callable[[], Mapping[str, Any]]
    """What only the process itself knows: versions, pids, uptime."""
    monotonic: Callable[[], float]
    uploads: Path
    """Folder for archives on their way in."""
    upload_max_bytes: int
    is_strict: bool
    """keeper.isolation = strict."""
    host: str
    """The configured host name, allowed in Host besides loopback and addresses."""


class _Api:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._catalog, self._fleet, self._tokens = parts.catalog, parts.fleet, parts.tokens

    def guarded(self, handler: "Handler") -> Callable[[Request], Awaitable[Response]]:
        """The boundary of one request: its failure is an answer and reaches nothing else."""

        async def guard(request: Request) -> Response:
            request_id = requests.id_of(request)
            try:
                check_host(request.headers.getlist("host"), request.headers.getlist("origin"), self._parts.host)
                response = await handler(self, request)
            except CorralError as fault:
                await requests.discard_body(request)
                response = requests.refusal(fault, request_id)
            except ClientDisconnect:
                response = Response(status_code=499)
            except Exception:
                log.exception("request failed", extra={"request": request_id, "path": request.url.path})
                response = requests.refusal(CorralError("the engine made a mistake; its log has more"), request_id)
            response.headers["x-request-id"] = request_id
            return response

        return guard

    async def no_route(self, request: Request, exc: Exception) -> Response:
        assert isinstance(exc, HTTPException)
        fault: CorralError = NotFound(f"no management path {request.url.path[:200]!r}")
        response = requests.refusal(fault, requests.id_of(request))
        if exc.status_code == 405:
            fault = BadRequest(f"{request.method} is not for {request.url.path[:200]!r}")
            response = requests.refusal(fault, requests.id_of(request))
            response.status_code = 405
        for name, value in (exc.headers or {}).items():
            response.headers[name] = value
        return response

    # -- rights ---------------------------------------------------------------------------------------------

    def _holder(self, request: Request) -> Holder:
        """Whoever may manage at all."""
        holder = self._tokens.holder(request.headers.get("authorization"))
        if not holder.manage:
            raise Forbidden(f"token {holder.label!r} may not manage, only invoke")
        return holder

    def _administrator(self, request: Request) -> None:
        if not self._holder(request).may_manage("*"):
            raise Forbidden("this needs a token that may manage every namespace")

    def _namespace(self, request: Request) -> str:
        holder, namespace = self._holder(request), str(request.path_params["namespace"])
        if not holder.may_manage(namespace):
            raise Forbidden(f"token {holder.label!r} may not manage namespace {namespace[:80]!r}")
        return check_name("namespace", namespace)

    # -- functions ------------------------------------------------------------------------------------------

    async def list_all(self, request: Request) -> Response:
        holder = self._holder(request)
        shown = [each for each in self._catalog.functions() if holder.may_manage(each.namespace)]
        return await self._listed(request, shown)

    async def list_functions(self, request: Request) -> Response:
        return await self._listed(request, self._catalog.functions(self._namespace(request)))

    async def _listed(self, request: Request, shown: Sequence[Revision]) -> Response:
        """In pieces: ten thousand of them take 0.1 s, and starts must not wait for that."""
        brief, secrets = requests.is_asked(request, "brief"), requests.is_asked(request, "secrets")
        pieces: list[bytes] = []
        for first in range(0, len(shown), LISTED_AT_ONCE):
            some = shown[first : first + LISTED_AT_ONCE]
            rows = [
                views.brief(each, self._catalog, self._fleet)
                if brief
                else views.listed(each, self._catalog, self._fleet, secrets)
                for each in some
            ]
            pieces.append(msgspec.json.encode(rows)[1:-1])
            await asyncio.sleep(0)
        return Response(b'{"functions":[%b]}' % b",".join(pieces), media_type="application/json")

    async def describe(self, request: Request) -> Response:
        revision = self._catalog.get(self._namespace(request), request.path_params["name"])
        secrets = requests.is_asked(request, "secrets")
        parts = self._parts
        now, is_strict = parts.monotonic(), parts.is_strict
        return _json(views.described(revision, self._catalog, self._fleet, now, secrets, is_strict=is_strict))

    async def upload(self, request: Request) -> Response:
        namespace = self._namespace(request)
        with _storing(), tempfile.NamedTemporaryFile(dir=self._parts.uploads) as file:
            received = 0
            async for chunk in requests.limited(request, self._parts.upload_max_bytes):
                received += len(chunk)
                await asyncio.to_thread(file.write, chunk)
            file.flush()
            if not received:
                raise BadRequest("the body is empty, must be a package as zip or tar, plain or gzipped")
            package = await self._parts.packages.add(namespace, Path(file.name))
        return _json({"package": package}, 201)

    async def deploy(self, request: Request) -> Response:
        namespace, name = self._namespace(request), str(request.path_params["name"])
        wanted = await requests.sent(request, lambda sent: shapes.read_function(sent, check_name("name", name)))
        existed = self._catalog.has(namespace, name)
        [deployed] = await self._parts.deployer.deploy(namespace, [_asked(wanted)], _timeout_s(request))
        return _json(views.deployed(deployed, self._catalog, self._fleet), 200 if existed else 201)

    async def deploy_many(self, request: Request) -> Response:
        namespace = self._namespace(request)
        wanted = await requests.sent(request, shapes.read_functions)
        deployed = await self._parts.deployer.deploy(namespace, [_asked(each) for each in wanted], _timeout_s(request))
        return _json({"functions": [views.deployed(each, self._catalog, self._fleet) for each in deployed]})

    async def delete(self, request: Request) -> Response:
        await self._catalog.delete(self._namespace(request), request.path_params["name"])
        return Response(status_code=204)

    async def scaling(self, request: Request) -> Response:
        revision = self._catalog.get(self._namespace(request), request.path_params["name"])
        return _json(self._fleet.scalings.view(revision))

    async def set_scaling(self, request: Request) -> Response:
        namespace, name = self._namespace(request), str(request.path_params["name"])
        sent = await requests.sent(request, shapes.read_tuning)
        revision = await self._catalog.tune(namespace, name, lambda before: msgspec.structs.replace(before, **sent))
        return _json(self._fleet.scalings.view(revision))

    async def describe_namespace(self, request: Request) -> Response:
        namespace = self._namespace(request)
        return _json({"namespace": namespace, "scaling": self._fleet.scalings.default(namespace)})

    async def set_namespace(self, request: Request) -> Response:
        namespace = self._namespace(request)
        await self._catalog.put_default(namespace, await requests.sent(request, shapes.read_default))
        return await self.describe_namespace(request)

    async def demand(self, request: Request) -> Response:
        revision = self._catalog.get(self._namespace(request), request.path_params["name"])
        days = requests.number(request, "days", DAYS, 1, DAYS)
        return _json(views.demand(revision.key, await self._parts.demand.of(revision.key, int(days))))

    # -- revisions ------------------------------------------------------------------------------------------

    async def revisions(self, request: Request) -> Response:
        function = self._catalog.function(self._namespace(request), request.path_params["name"])
        return _json({"revisions": views.revisions(function, self._fleet)})

    async def set_traffic(self, request: Request) -> Response:
        namespace, name = self._namespace(request), str(request.path_params["name"])
        wanted = await requests.sent(request, shapes.read_traffic)
        function = await self._catalog.set_traffic(namespace, name, wanted.shares, wanted.tags, _timeout_s(request))
        return _json(views.traffic_of(function))

    async def roll_back(self, request: Request) -> Response:
        namespace, name = self._namespace(request), str(request.path_params["name"])
        to = await requests.sent(request, shapes.read_rollback)
        function = await self._catalog.roll_back(namespace, name, to, _timeout_s(request))
        return _json(views.traffic_of(function))

    async def logs(self, request: Request) -> Response:
        revision = self._catalog.get(self._namespace(request), request.path_params["name"])
        tail = requests.number(request, "tail", 100, 0, TAIL_MAX)
        of_request, calls = request.query_params.get("request"), requests.is_asked(request, "calls")
        if requests.is_asked(request, "follow"):
            lines = await _begun(self._followed(revision.key, int(tail), of_request, calls))
        else:
            lines = self._parts.read_log(revision.key, int(tail), of_request, None)
        return StreamingResponse(lines, media_type="application/jsonl")

    async def build_log(self, request: Request) -> Response:
        """Also of a function that never came to be: its installation failed."""
        namespace, name = self._namespace(request), check_name("name", str(request.path_params["name"]))
        found = await self._parts.read_build_log(function_key(namespace, name))
        if found is None:
            raise NotFound(
                f"nothing was installed for {name!r} in namespace {namespace!r}: it has no dependencies, or they were "
                "there already"
            )
        return Response(found, media_type="text/plain; charset=utf-8")

    async def _followed(self, key: FunctionKey, tail: int, request: str | None, calls: bool) -> AsyncIterator[bytes]:
        with self._fleet.followers.follow(key, request, calls) as follower:
            async for lines in self._parts.read_log(key, tail, request, follower.grown):
                yield lines + follower.calls()

    # -- recordings -----------------------------------------------------------------------------------------

    async def record_all(self, request: Request) -> Response:
        """With the journal, which shows what is decided for everybody."""
        self._administrator(request)
        return await self._recorded(request, None)

    async def record(self, request: Request) -> Response:
        return await self._recorded(request, self._namespace(request))

    async def _recorded(self, request: Request, namespace: str | None) -> Response:
        seconds = requests.number(request, "seconds", RECORD_MAX_S, 0, RECORD_MAX_S)

        async def lines() -> AsyncIterator[bytes]:
            with self._fleet.recorder.record(namespace) as recording:
                async for some in recording.read(asyncio.get_running_loop().time() + seconds):
                    yield some

        return StreamingResponse(await _begun(lines()), media_type="application/jsonl")

    # -- the engine -----------------------------------------------------------------------------------------

    async def status(self, request: Request) -> Response:
        self._holder(request)
        return _json({**self._parts.status(), **views.state_of(self._catalog, self._fleet)})

    async def metrics(self, request: Request) -> Response:
        return Response(await self._parts.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    # -- tokens ---------------------------------------------------------------------------------------------

    async def list_tokens(self, request: Request) -> Response:
        self._administrator(request)
        return _json({"tokens": [views.token_view(each) for each in self._tokens.stored]})

    async def make_token(self, request: Request) -> Response:
        self._administrator(request)
        wanted = await requests.sent(request, shapes.read_token)
        token, stored = await self._tokens.make(wanted.label, wanted.namespaces, wanted.manage, wanted.invoke)
        return _json(views.token_view(stored) | {"token": token}, 201)

    async def remove_token(self, request: Request) -> Response:
        self._administrator(request)
        await self._tokens.remove(request.path_params["digest"])
        return Response(status_code=204)


Handler = Callable[[_Api, Request], Awaitable[Response]]
FUNCTIONS = "/corral/v1/namespaces/{namespace}/functions"
URLS: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/metrics", _Api.metrics),
    ("GET", "/corral/v1/status", _Api.status),
    ("GET", "/corral/v1/functions", _Api.list_all),
    ("GET", "/corral/v1/recording", _Api.record_all),
    ("GET", "/corral/v1/namespaces/{namespace}/recording", _Api.record),
    ("GET", "/corral/v1/tokens", _Api.list_tokens),
    ("POST", "/corral/v1/tokens", _Api.make_token),
    ("DELETE", "/corral/v1/tokens/{digest}", _Api.remove_token),
    ("POST", "/corral/v1/namespaces/{namespace}/packages", _Api.upload),
    ("GET", FUNCTIONS, _Api.list_functions),
    ("POST", FUNCTIONS, _Api.deploy_many),
    ("GET", f"{FUNCTIONS}/{{name}}", _Api.describe),
    ("PUT", f"{FUNCTIONS}/{{name}}", _Api.deploy),
    ("DELETE", f"{FUNCTIONS}/{{name}}", _Api.delete),
    ("GET", f"{FUNCTIONS}/{{name}}/logs", _Api.logs),
    ("GET", f"{FUNCTIONS}/{{name}}/demand", _Api.demand),
    ("GET", f"{FUNCTIONS}/{{name}}/revisions", _Api.revisions),
    ("PATCH", f"{FUNCTIONS}/{{name}}/traffic", _Api.set_traffic),
    ("POST", f"{FUNCTIONS}/{{name}}/rollback", _Api.roll_back),
    ("GET", f"{FUNCTIONS}/{{name}}/scaling", _Api.scaling),
    ("PUT", f"{FUNCTIONS}/{{name}}/scaling", _Api.set_scaling),
    ("GET", "/corral/v1/namespaces/{namespace}", _Api.describe_namespace),
    ("PUT", "/corral/v1/namespaces/{namespace}", _Api.set_namespace),
    ("GET", f"{FUNCTIONS}/{{name}}/build-log", _Api.build_log),
)


def application(parts: Parts) -> Starlette:
    api = _Api(parts)
    routes = [Route(path, api.guarded(handler), methods=[method]) for method, path, handler in URLS]
    # What has no route is answered in our form too.
    served = Starlette(routes=routes, exception_handlers={HTTPException: api.no_route})
    # A redirect would go to whatever Host says, unchecked.
    served.router.redirect_slashes = False
    return served


@contextlib.contextmanager
def _storing() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        why = exc.strerror or str(exc)
        raise StoreFailed(f"the package could not be stored: {why}; make room and try again") from exc


async def _begun(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same with its first part made already: whoever reads a response's head may rely on what follows it."""
    first = await anext(lines)

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for some in lines:
            yield some

    return whole()


def _asked(wanted: shapes.Wanted) -> Asked:
    return Asked(
        name=wanted.name,
        package=wanted.package,
        spec=wanted.spec,
        tag=wanted.tag,
        takes_calls=not wanted.no_traffic,
    )


def _timeout_s(request: Request) -> float:
    return requests.number(request, "timeout", VERIFY_S, 0.1, TIMEOUT_MAX_S)


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
