"""The nouns, as values. Names as in docs/design.md section 5."""

import re
from collections.abc import Iterator
from enum import StrEnum
from sys import intern
from typing import Any, Literal, NewType

import msgspec

from corral.errors import Invalid

FunctionKey = NewType("FunctionKey", str)
"""`namespace/name`."""
RevisionId = NewType("RevisionId", str)
"""`namespace/name@number`; numbers count from 1 and are never used twice, also not after a deletion."""
InstanceId = NewType("InstanceId", str)
CallId = NewType("CallId", int)
"""Unique within one gateway process."""
GatewayId = NewType("GatewayId", str)
SlotId = NewType("SlotId", str)

Style = Literal["main", "handle", "handler", "lambda"]
"""How the function is called: main(args), handle(event, context), handler(event), handler(event, context)."""
STYLES: tuple[Style, ...] = ("main", "handle", "handler", "lambda")
Network = Literal["none", "host"]
NETWORKS: tuple[Network, ...] = ("none", "host")

ScalingValue = bool | int | float | str
"""Of one setting of a scaling rule; what each may be is the rule's affair."""

DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
HANDLER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*:[A-Za-z_][A-Za-z0-9_]*\Z")
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
RUNTIME = re.compile(r"python3?(\.[0-9]{1,2})?\Z")
DEFAULT_NAMESPACE = "default"


class FunctionSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What its owner says of a function. `None` means: decided when the code is first loaded."""

    handler: str | None = None
    """`file:function`, the file relative to the package with or without `.py`; None: found by convention."""
    style: Style | None = None
    runtime: str = "python3"
    """`python3` is the interpreter Corral runs on; `python3.9` … name another one of the machine."""
    env: dict[str, str] = {}
    memory_mib: int = 256
    cpu: float = 1.0
    """Cores; a hard limit."""
    concurrency: int | None = None
    """Calls at once in one instance; None: 1 for a sync function, 100 for an async one."""
    timeout_s: float = 60.0
    """From the call's arrival to its last byte."""
    hold_s: float = 30.0
    """How long a call may wait for an instance; never past its deadline."""
    min: int = 0
    max: int = 100
    initial: int = 1
    """Instances that must load before a deployment counts; 0 deploys without loading the code."""
    idle_s: float | None = None
    """An instance idle for so long is stopped, down to `min`; None: as the scaling rule finds right."""
    body_max_mib: float = 16.0
    queue: int = 1000
    scaling: dict[str, ScalingValue] = {}
    """The rule that decides how many instances there are (`engine`, one of policy.SCALERS) and its settings; empty:
    what the namespace has for its functions."""
    network: Network = "none"
    private: bool = False
    """Only tokens that may invoke in the namespace may call it."""


LIMITS: dict[str, tuple[float, float]] = {
    "memory_mib": (32, 1_048_576),
    "cpu": (0.05, 1024),
    "concurrency": (1, 1000),
    "timeout_s": (0.1, 86_400),
    "hold_s": (0.1, 3600),
    "min": (0, 1000),
    "max": (1, 1000),
    "initial": (0, 1000),
    "idle_s": (0.1, 86_400),
    "body_max_mib": (0.001, 1024),
    "queue": (0, 100_000),
}
"""Field -> (least, most), both allowed."""


def spec_problems(spec: FunctionSpec) -> Iterator[str]:
    """One sentence for each field of `spec` that cannot work."""
    for field, (least, most) in LIMITS.items():
        value = getattr(spec, field)
        # A NaN compares false with everything, so the test is for being inside.
        if value is not None and not least <= value <= most:
            yield f"{field} = {value:.10g}, must be between {least:.10g} and {most:.10g}"
    if spec.min > spec.max:
        yield f"min = {spec.min}, must not be above max = {spec.max}"
    if spec.initial > spec.max:
        yield f"initial = {spec.initial}, must not be above max = {spec.max}"
    if spec.handler is not None and (not HANDLER.match(spec.handler) or ".." in spec.handler.split(":")[0].split("/")):
        yield f"handler = {spec.handler[:200]!r}, must be file:function, the file inside the package, as in app.py:main"
    if not RUNTIME.match(spec.runtime):
        yield f"runtime = {spec.runtime[:80]!r}, must be python3 or python3.N"
    for name, value in spec.env.items():
        if not ENV_NAME.match(name) or "\0" in value:
            shown = name[:80]
            yield f"env name {shown!r}, must be letters, digits and _, not beginning with a digit; values without NUL"
    # As the function's process holds them: a character may be four bytes.
    size = sum(len(text.encode()) for setting in spec.env.items() for text in setting)
    if size > 65_536:
        yield f"env holds {size} bytes, must be at most 65536 in all"


def check_name(kind: str, name: str) -> str:
    """`name` if it is a DNS label; otherwise Invalid. `kind` is what it names, for the message."""
    if not DNS_LABEL.match(name):
        raise Invalid(
            f"{kind} = {name[:80]!r}, must be a DNS label: 1 to 63 of a-z, 0-9 and -, "
            "beginning and ending with a letter or digit"
        )
    return name


def function_key(namespace: str, name: str) -> FunctionKey:
    return FunctionKey(f"{namespace}/{name}")


def tagged_key(key: FunctionKey, tag: str) -> FunctionKey:
    """`namespace/name@tag`: by this, calls that name a tag are looked up."""
    return FunctionKey(f"{key}@{tag}")


def revision_id(key: FunctionKey, number: int) -> RevisionId:
    return RevisionId(f"{key}@{number}")


def key_of(revision: RevisionId) -> FunctionKey:
    return FunctionKey(revision.rpartition("@")[0])


def number_of(revision: RevisionId) -> int:
    return int(revision.rpartition("@")[2])


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment of a function: its code and settings, never changed afterwards."""

    id: RevisionId
    namespace: str
    name: str
    number: int
    package: str
    """sha256 of the package's contents, hex; its folder is DATA/packages/NAMESPACE/<sha256>."""
    layer: str | None = None
    """sha256 that stands for its dependencies and interpreter, hex; its folder is DATA/layers/NAMESPACE/<sha256>.
    None: it has no dependencies."""
    uid: int
    """The numeric user its instances run as: one per function, so that a process that has loaded the dependencies of
    one revision may become the next."""
    spec: FunctionSpec
    created_at: float
    """Wall clock, seconds."""
    style: Style | None = None
    """As recognised when the code was loaded; None: not loaded yet."""
    is_async: bool = False

    @property
    def key(self) -> FunctionKey:
        # The same object every time: a function's key stands in a dozen tables.
        return FunctionKey(intern(function_key(self.namespace, self.name)))

    @property
    def concurrency(self) -> int:
        """Calls at once in one instance; 1 until the code was loaded."""
        if self.spec.concurrency is not None:
            return self.spec.concurrency
        return 100 if self.is_async else 1


class Share(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What part of a function's calls one revision gets, or by which tag it is called."""

    number: int
    """Of the revision."""
    percent: int = 0
    """0 to 100; those of a function add up to 100."""
    tag: str | None = None
    """A DNS label: calls that name it go to this revision, whatever its share. Unique within the function."""


REVISIONS_KEPT = 10
"""Of each function, the newest; those with a share or a tag stay besides."""


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What one gateway saw of one revision in one closed second: sums, so several gateways' may be added."""

    arrived: int = 0
    completed: int = 0
    completed_200: int = 0
    failed: int = 0
    concurrency_s: float = 0.0
    """Integral of waiting + executing over the second, in call-seconds."""
    executing_s: float = 0.0
    peak: int = 0
    """Most calls in flight at once (waiting + executing)."""
    oldest_wait_s: float = 0.0
    service_s: float = 0.0
    """Sum of the service times (dispatch to end) of the completed calls."""
    from_idle: int = 0
    """Calls that arrived while no other waited or executed."""


class ExitCause(StrEnum):
    """Why an instance ended."""

    STOPPED = "stopped"
    OUT_OF_MEMORY = "out of memory"
    CRASHED = "crashed"
    EXITED = "exited"
    TIMEOUT = "timeout"
    LOAD_FAILED = "load failed"
    START_FAILED = "start failed"
    KEEPER_LOST = "keeper restarted"
    REMOVED = "removed"


STAMPS = ("waited", "decided", "received", "forked", "dressed", "loaded", "ready")
"""The moments of a cold start in order, CLOCK_MONOTONIC seconds: the first call began to wait; the engine decided;
the keeper took it up; the child ran; its sandbox stood; its code was loaded; the gateway heard of it."""


def to_json(value: Any) -> bytes:
    return msgspec.json.encode(value)
