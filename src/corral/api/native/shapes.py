"""Corral's own API: what its JSON looks like, and which status each fault has. Shared by invoke and manage."""

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any

import msgspec

from corral import errors
from corral.errors import PROBLEMS_MAX, BadRequest, BuildFailed, CorralError, Invalid, LoadFailed
from corral.model import DEFAULT_NAMESPACE, FunctionSpec, Revision, ScalingValue, Share
from corral.ports import Tuning

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
    errors.BuildFailed: (502, "build_failed"),
    errors.InstanceLost: (502, "instance_lost"),
    errors.BadResponse: (502, "bad_response"),
    errors.StartTimeout: (503, "start_timeout"),
    errors.Unavailable: (503, "unavailable"),
    errors.SandboxFailed: (503, "sandbox_failed"),
    errors.StoreFailed: (503, "store_failed"),
    errors.CallTimeout: (504, "call_timeout"),
}
"""Fault -> (status, code). The code is for scripts and never changes; the sentence is for people and may."""

DEPLOY_FAULTS: dict[type[CorralError], tuple[int, str]] = {
    **FAULTS,
    errors.LoadFailed: (422, "load_failed"),
    errors.BuildFailed: (422, "build_failed"),
}
"""For the one who deploys, code that does not load or needs what cannot be installed is a mistake in what was sent."""

FUNCTIONS_MAX = 5_000
"""In one deployment request."""
UNKNOWN_FIELDS_MAX = 10
"""Named of one object."""

UNLOADED = "the function's code could not be loaded; `corral describe` and `corral logs` tell its owner why"
"""All that callers are told of it."""

UNKNOWN_FAULT = (500, "internal")


def status_of(fault: CorralError, table: Mapping[type[CorralError], tuple[int, str]] = FAULTS) -> tuple[int, str]:
    """(status, code) of `fault`: of its class, or of the nearest one it is derived from."""
    for kind in type(fault).__mro__:
        found = table.get(kind)
        if found is not None:
            return found
    return UNKNOWN_FAULT


def error_body(fault: CorralError, code: str, request_id: str, *, for_owner: bool = False) -> bytes:
    """`{"error": {"code", "message", …}, "request_id"}`. Why code does not load names files and lines of it, which are
    the function's owner's alone."""
    is_hidden = isinstance(fault, LoadFailed) and not for_owner
    error: dict[str, Any] = {"code": code, "message": UNLOADED if is_hidden else fault.message}
    if isinstance(fault, Invalid):
        error["problems"] = fault.problems
    if for_owner and isinstance(fault, LoadFailed) and fault.traceback:
        error["traceback"] = fault.traceback
    if for_owner and isinstance(fault, BuildFailed) and fault.output:
        error["output"] = fault.output
    return msgspec.json.encode({"error": error, "request_id": request_id})


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One function of a deployment request, as sent."""

    name: str
    package: str
    spec: FunctionSpec
    tag: str | None = None
    no_traffic: bool = False


class WantedTraffic(msgspec.Struct, frozen=True, kw_only=True):
    shares: dict[int, int] | None
    """Revision -> percent; None: as they are."""
    tags: dict[str, int | None]
    """Tag -> revision; None: take it away."""


class WantedToken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    label: str
    namespaces: list[str]
    manage: bool = False
    invoke: bool = True


def read_json(body: bytes) -> Any:
    """Raises BadRequest."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise BadRequest(f"the body is not JSON: {exc}") from exc
    except RecursionError as exc:
        raise BadRequest("the body is nested too deeply, must be at most a few levels deep") from exc


def read_function(value: Any, name: str | None = None, where: str = "") -> Wanted:
    """`{"name", "package", "spec": {…}, "tag", "no_traffic"}`; no name when the URL has it. `where` begins each
    sentence. Raises Invalid with one sentence for each field that is wrong."""
    if not isinstance(value, dict):
        raise Invalid(f"{where}{_shown(value)}, must be an object with package and spec")
    allowed = {"package", "spec", "tag", "no_traffic"} | ({"name"} if name is None else set())
    problems = _unknown_fields(value, sorted(allowed), where)
    name = name if name is not None else value.get("name")
    package = value.get("package")
    for field, found in (("name", name), ("package", package)):
        if not isinstance(found, str):
            problems.append(f"{where}{field} = {_shown(found)}, must be text")
    tag, no_traffic = value.get("tag"), value.get("no_traffic", False)
    if tag is not None and not isinstance(tag, str):
        problems.append(f"{where}tag = {_shown(tag)}, must be text")
    if not isinstance(no_traffic, bool):
        problems.append(f"{where}no_traffic = {_shown(no_traffic)}, must be true or false")
    spec: FunctionSpec | None = None
    try:
        spec = read_spec(value.get("spec", {}), where)
    except Invalid as fault:
        problems += fault.problems
    if problems or spec is None or not isinstance(name, str) or not isinstance(package, str):
        raise Invalid(*problems)
    return Wanted(name=name, package=package, spec=spec, tag=tag, no_traffic=no_traffic)


def read_functions(value: Any) -> list[Wanted]:
    """A list of functions, or `{"functions": [...]}`. Raises Invalid with every mistake of all of them."""
    if isinstance(value, dict) and set(value) == {"functions"}:
        value = value["functions"]
    if not isinstance(value, list):
        raise Invalid(f"functions = {_shown(value)}, must be a list")
    if len(value) > FUNCTIONS_MAX:
        raise Invalid(f"functions has {len(value)} members, must be at most {FUNCTIONS_MAX} in one request")
    wanted: list[Wanted] = []
    problems: list[str] = []
    specs: dict[bytes, FunctionSpec] = {}
    for place, each in enumerate(value):
        try:
            read = read_function(each, where=f"functions[{place}].")
            # Equal ones are one object: of thousands of functions most have the same settings.
            spec = specs.setdefault(msgspec.json.encode(read.spec), read.spec)
            wanted.append(msgspec.structs.replace(read, spec=spec))
        except Invalid as fault:
            problems += fault.problems
        if len(problems) > PROBLEMS_MAX:
            break
    if problems:
        raise Invalid(*problems)
    return wanted


def read_spec(value: Any, where: str = "") -> FunctionSpec:
    """Only types are checked here; what a value may be is `model.spec_problems`. Raises Invalid."""
    if not isinstance(value, dict):
        raise Invalid(f"{where}spec = {_shown(value)}, must be an object")
    return FunctionSpec(**_read_fields(value, _spec_fields(), f"{where}spec."))


@cache
def _spec_fields() -> Mapping[str, msgspec.structs.FieldInfo]:
    """Finding them out takes longer than reading a spec by them."""
    return {field.name: field for field in msgspec.structs.fields(FunctionSpec)}


def _read_fields(
    value: Mapping[str, Any], fields: Mapping[str, msgspec.structs.FieldInfo], where: str
) -> dict[str, Any]:
    """Those that were sent. Raises Invalid with one sentence for each that is wrong."""
    problems = _unknown_fields(value, list(fields), where)
    read: dict[str, Any] = {}
    for name, field in fields.items():
        if name not in value:
            continue
        sent = value[name]
        try:
            read[name] = msgspec.convert(sent, field.type)
        except msgspec.ValidationError as exc:
            problems.append(f"{where}{name} = {_shown(sent)}: {exc}")
    if problems:
        raise Invalid(*problems)
    return read


def read_tuning(value: Any) -> dict[str, Any]:
    """`{"scaling", "min", "max", "idle_s"}`, those that shall change; null: as the deployment says.
    Only types are checked. Raises Invalid."""
    if not isinstance(value, dict):
        raise Invalid(f"{_shown(value)}, must be an object with scaling, min, max or idle_s")
    fields = {field.name: field for field in msgspec.structs.fields(Tuning)}
    return _read_fields(value, fields, "")


def read_default(value: Any) -> dict[str, ScalingValue]:
    """`{"scaling": {…}}` of a namespace. Raises Invalid."""
    if not isinstance(value, dict) or set(value) != {"scaling"}:
        raise Invalid(f"{_shown(value)}, must be an object with scaling")
    try:
        return msgspec.convert(value["scaling"], dict[str, ScalingValue])
    except msgspec.ValidationError as exc:
        raise Invalid(f"scaling = {_shown(value['scaling'])}: {exc}") from exc


def read_traffic(value: Any) -> WantedTraffic:
    """`{"shares": [{"number", "percent"}, …], "tags": {TAG: number or null}}`; without `shares` they stay, and so do
    tags that are not named. Raises Invalid."""
    if not isinstance(value, dict) or not value:
        raise Invalid(f"{_shown(value)}, must be an object with shares or tags")
    problems = _unknown_fields(value, ["shares", "tags"], "")
    shares: dict[int, int] | None = None
    tags: dict[str, int | None] = {}
    try:
        if "shares" in value:
            said = msgspec.convert(value["shares"], list[_SaidShare])
            shares = {each.number: each.percent for each in said}
            if len(shares) < len(said):
                problems.append("shares names a revision twice, must name each once")
        if "tags" in value:
            tags = msgspec.convert(value["tags"], dict[str, int | None])
    except msgspec.ValidationError as exc:
        problems.append(f"{exc}: shares must be a list of number and percent, tags an object of numbers or null")
    if problems:
        raise Invalid(*problems)
    return WantedTraffic(shares=shares, tags=tags)


class _SaidShare(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    number: int
    percent: int


def read_rollback(value: Any) -> int | None:
    """`{"to": number}` or `{}`. Raises Invalid."""
    to = value.get("to") if isinstance(value, dict) and set(value) <= {"to"} else _shown(value)
    if to is not None and (isinstance(to, bool) or not isinstance(to, int)):
        raise Invalid(f"to = {_shown(to)}, must be the number of a revision")
    return to


def read_token(value: Any) -> WantedToken:
    """Raises Invalid."""
    try:
        return msgspec.convert(value, WantedToken)
    except msgspec.ValidationError as exc:
        raise Invalid(f"token: {exc}; must have label, namespaces, manage and invoke") from exc


def read_number(sent: str | None, field: str, default: float, least: float, most: float) -> float:
    """A query's field; None: it was not sent. Raises Invalid."""
    if sent is None:
        return default
    try:
        value = float(sent)
    except ValueError:
        value = -1.0
    if not least <= value <= most:
        raise Invalid(f"{field} = {sent[:80]!r}, must be a number between {least:g} and {most:g}")
    return value


HIDDEN = "…"
"""Stands for the value of an environment variable."""
HIDDEN_OTHER = "… (another)"
"""Stands for one that differs from what the revision with most calls has."""


def share_views(traffic: Iterable[Share]) -> list[dict[str, Any]]:
    """Where a function's calls go: `number`, `percent`, and the `tags` that lead there."""
    views: dict[int, dict[str, Any]] = {}
    for share in traffic:
        view = views.setdefault(share.number, {"number": share.number, "percent": 0, "tags": []})
        view["percent"] += share.percent
        view["tags"] += [share.tag] if share.tag else []
    return list(views.values())


def function_view(
    revision: Revision, traffic: Iterable[Share], instances: int, secrets: bool = False
) -> dict[str, Any]:
    """A function as lists show it, by the revision with the largest share of its calls; the values of its environment
    only with `secrets`. `concurrency` is None until the code was loaded."""
    is_loaded = revision.style is not None or revision.spec.concurrency is not None
    return function_brief(revision, traffic, instances) | {
        "revision": revision.id,
        "package": revision.package,
        "layer": revision.layer,
        "spec": spec_view(revision, secrets, revision),
        "concurrency": revision.concurrency if is_loaded else None,
        "created_at": revision.created_at,
    }


def spec_view(revision: Revision, secrets: bool, foremost: Revision) -> dict[str, Any]:
    """A revision's settings; without `secrets` one only sees which values are not those of `foremost`."""
    view: dict[str, Any] = msgspec.to_builtins(revision.spec)
    if not secrets:
        known = foremost.spec.env
        view["env"] = {
            name: HIDDEN_OTHER if name in known and known[name] != value else HIDDEN
            for name, value in view["env"].items()
        }
    return view


def function_brief(revision: Revision, traffic: Iterable[Share], instances: int) -> dict[str, Any]:
    """What tells functions apart."""
    called = revision.name if revision.namespace == DEFAULT_NAMESPACE else f"{revision.name}.{revision.namespace}"
    return {
        "name": revision.name,
        "namespace": revision.namespace,
        "number": revision.number,
        "traffic": share_views(traffic),
        "path": f"/function/{called}",
        "style": revision.style,
        "is_async": revision.is_async,
        "instances": instances,
    }


def _unknown_fields(value: Mapping[str, Any], known: Sequence[str], where: str) -> list[str]:
    unknown = islice((name for name in value if name not in known), UNKNOWN_FIELDS_MAX + 1)
    problems = [f"{where}{name[:80]}: no such field, must be one of {', '.join(known)}" for name in unknown]
    problems[UNKNOWN_FIELDS_MAX:] = problems[UNKNOWN_FIELDS_MAX:] and [f"{where}… has more fields that do not exist"]
    return problems


_SHORT = reprlib.Repr()
"""Looks at the beginning only: what is sent may be large."""
_SHORT.maxstring = 80


def _shown(value: Any) -> str:
    return _SHORT.repr(value).encode("ascii", "backslashreplace").decode()[:80]
