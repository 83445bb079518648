"""What engine, gateway and keeper say to each other: typed messages over unix sockets, opened with a version.

The engine listens; gateway and keeper connect, and connect again when it comes back. After each connect both sides
send their whole state (`Holding`, `Inventory`; every `RevisionPut` and `RoutePut` followed by `Synced`) and treat the
other's as a difference against what they have. On the wire: u32 length (big-endian), then MessagePack."""

import asyncio
import contextlib
import logging
import struct
from collections.abc import Callable
from typing import Generic, TypeVar, cast

import msgspec

from corral.errors import CorralError
from corral.model import (
    ExitCause,
    FunctionKey,
    InstanceId,
    Observation,
    Revision,
    RevisionId,
    SlotId,
    Style,
)

log = logging.getLogger("corral.link")

VERSION = 1
MESSAGE_MAX_BYTES = 16 * 1024 * 1024


class Message(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Base of all messages; the tag is the class name."""


class Hello(Message, frozen=True):
    """First on every connection, both ways."""

    role: str
    """`engine`, `gateway` or `keeper`."""
    id: str
    """Of this process; another id means it was restarted and remembers nothing."""
    version: int = VERSION


# -- gateway -> engine --------------------------------------------------------------------------------------


class Holding(Message, frozen=True):
    """After a connect: the instances this gateway holds, by revision. Also what calls wait: `Want`s follow."""

    instances: dict[RevisionId, list[InstanceId]]


class Want(Message, frozen=True):
    """Calls wait and nothing is free. Edge-triggered: at the first waiting call, then at most every 10 ms while
    the shortfall grows."""

    revision: RevisionId
    waiting: int
    executing: int
    oldest_wait_s: float
    waited: float = 0.0
    """Monotonic moment at which the oldest waiting call arrived."""


class Observed(Message, frozen=True):
    """One closed second. Silent seconds are not sent."""

    observations: dict[RevisionId, Observation]


class Ready(Message, frozen=True):
    """The instance loaded its code and serves."""

    instance: InstanceId
    style: Style
    is_async: bool
    concurrency: int
    stamps: dict[str, float]
    code: bytes | None = None
    """The marshalled entry module, sent on the first load so that later starts need not compile it."""


class Failed(Message, frozen=True):
    """The instance could not load the code; the process is ending."""

    instance: InstanceId
    error: str
    """One sentence."""
    traceback: str


class Released(Message, frozen=True):
    """The gateway gave the instance up: it is idle and no call will be sent to it."""

    instance: InstanceId


class Overrun(Message, frozen=True):
    """A call's timeout passed in this instance, and the grace for its other calls too: kill it."""

    instance: InstanceId


class Dropped(Message, frozen=True):
    """The gateway's connection to the instance broke."""

    instance: InstanceId


class CallLost(Message, frozen=True):
    """An instance had this call, and it ended without the function's word: for the function's log."""

    instance: InstanceId
    revision: RevisionId
    request: str
    why: str
    """The sentence the caller was told."""


class CallEnded(Message, frozen=True):
    """A call of a function that somebody watches is over."""

    key: FunctionKey
    request: str
    method: str
    path: str
    """With its query, as the function saw it."""
    status: int
    """499: the client left before there was one. 500 also when the function raised after it had begun to answer."""
    took_s: float
    """From its head to its answer's last byte."""
    is_cold: bool = False
    """Its instance was started for it."""
    is_whole: bool = True
    """False: the answer broke off."""
    left_out: int = 0
    """So many calls before it were not told: there were too many."""


# -- engine -> gateway --------------------------------------------------------------------------------------


class Served(msgspec.Struct, frozen=True):
    """What a gateway has to know of a revision: nothing of its environment, package or user, for the gateway is the
    process that strangers talk to."""

    id: RevisionId
    key: FunctionKey
    namespace: str
    private: bool
    timeout_s: float
    hold_s: float
    body_max_mib: float
    queue: int
    concurrency: int

    @classmethod
    def of(cls, revision: Revision) -> "Served":
        spec = revision.spec
        return cls(
            revision.id, revision.key, revision.namespace, spec.private, spec.timeout_s, spec.hold_s,
            spec.body_max_mib, spec.queue, revision.concurrency,
        )  # fmt: skip


class RevisionPut(Message, frozen=True):
    """A revision, with what the gateway looks up for each call. Keyed by its id; again for a known one: new facts.
    From now on instances can be assigned to it and report Ready or Failed; calls come to it by a RoutePut only."""

    served: Served

    @classmethod
    def of(cls, revision: Revision) -> "RevisionPut":
        return cls(Served.of(revision))


class RevisionDrop(Message, frozen=True):
    """No call goes to this revision any more. It is known no longer once its executing calls have ended."""

    revision: RevisionId


class RoutePut(Message, frozen=True):
    """Where a function's calls go from now on; a RevisionPut of each revision came before. Held calls whose revision
    is not among them any more go by the new route as well."""

    key: FunctionKey
    shares: list[tuple[RevisionId, int]]
    """Percent of the calls, each above 0; together 100."""
    tags: dict[str, RevisionId] = {}
    """Where calls go that name a tag."""


class RouteDrop(Message, frozen=True):
    """The function is gone: new calls get 404, held ones too; those executing go on."""

    key: FunctionKey


class TokenPut(Message, frozen=True):
    """The rights behind one token, by the token's SHA-256 (hex). `namespaces` holds names or `*`.
    `invoke` = False removes it."""

    digest: str
    namespaces: list[str]
    invoke: bool


class Watch(Message, frozen=True):
    """Whether somebody watches this function's calls live: CallEnded is sent while so."""

    key: FunctionKey
    on: bool


class Synced(Message, frozen=True):
    """The whole state was sent: routes and tokens not among it are gone."""


class Assign(Message, frozen=True):
    """This instance is yours. `fresh`: it is only starting; send calls at once, they wait in its socket."""

    instance: InstanceId
    revision: RevisionId
    address: str
    """`unix:/path`."""
    fresh: bool


class Release(Message, frozen=True):
    """Give up n instances of the revision: idle ones, the longest idle first. Fewer idle: fewer released now."""

    revision: RevisionId
    count: int


class Retire(Message, frozen=True):
    """Send no new call to this instance; `Released` when its last call has ended."""

    instance: InstanceId


class Gone(Message, frozen=True):
    """The instance ended. Its calls that were not begun are held again, the others end with this cause."""

    instance: InstanceId
    cause: ExitCause
    detail: str
    """A sentence for the caller, without the function's data."""


class Block(Message, frozen=True):
    """No instance can be started until `until` (monotonic): held and new calls without an instance get this.
    An empty `error` lifts the block."""

    revision: RevisionId
    error: str
    until: float
    kind: str = "load"
    """`load`: the function's code is at fault (502). `start`: the machine is (503)."""


class Queued(Message, frozen=True):
    """Starts of the revision wait for room on this machine: what a held call is told at its limit. An empty `why`: they
    wait no longer."""

    revision: RevisionId
    why: str


# -- engine -> keeper ---------------------------------------------------------------------------------------


class Start(Message, frozen=True):
    """Start an instance of `revision` in `slot` (None: in any)."""

    instance: InstanceId
    slot: SlotId | None
    revision: Revision
    code: bytes | None
    """The marshalled entry module that an earlier instance of the revision gave; None: it shall give it."""
    stamps: dict[str, float]


class KeepZygote(Message, frozen=True):
    """Raise a zygote of the revision: a process that has loaded its code, waits, and forks its instances from then on.
    One that is there stays. Answered with ZygoteKept or ZygoteGone."""

    revision: Revision
    code: bytes | None
    """As in Start."""


class DropZygote(Message, frozen=True):
    """End the revision's zygote; its instances go on. Answered with ZygoteGone."""

    revision: RevisionId


class Measure(Message, frozen=True):
    """Say what this instance uses, now and not with the next Used: it has just loaded code that was never measured.
    Answered with Measured, if it runs."""

    instance: InstanceId


class Build(Message, frozen=True):
    """Install the dependencies of the revision's package as its layer. Answered with Built. Again for one that is being
    built: the same answer to both."""

    revision: Revision
    """Its `layer` says what has to be there afterwards."""
    source: str
    """The file of the package that names them: `requirements.txt` or `pyproject.toml`."""
    requirements: str | None = None
    """What to install, one in a line, exactly as the layer stands for it. None: some of it lies in the package, for
    which the layer then stands too, and `source` has to be read there."""
    constraints: str = ""


class BuildDrop(Message, frozen=True):
    """Nobody waits for it any more: end the build, leave nothing of it."""

    revision: RevisionId


class LayerDrop(Message, frozen=True):
    """No revision needs this layer any more: remove it."""

    namespace: str
    layer: str


class LayersKept(Message, frozen=True):
    """After a connect: namespace -> all layers that revisions need. Others that are there are removed."""

    layers: dict[str, list[str]]


class Stop(Message, frozen=True):
    """End the instance now. It has no calls, or they are lost. Unknown ones are answered with Exited as well."""

    instance: InstanceId
    cause: ExitCause


class Follow(Message, frozen=True):
    """Whether somebody reads this function's log live: LogGrew is sent while so."""

    key: FunctionKey
    on: bool


class Forget(Message, frozen=True):
    """The function was deleted: remove its log."""

    key: FunctionKey


class Note(Message, frozen=True):
    """Put a line of Corral's own, about this request, into the function's log."""

    key: FunctionKey
    instance: InstanceId
    request: str
    text: str


# -- keeper -> engine ---------------------------------------------------------------------------------------


class Inventory(Message, frozen=True):
    """After a connect: what runs, and what this keeper is."""

    instances: dict[InstanceId, RevisionId]
    addresses: dict[InstanceId, str]
    tier: str
    """`T0` or `T1`."""
    not_held: list[str]
    """One sentence for each protection this machine does not allow."""
    runtimes: dict[str, str]
    """Runtime name -> interpreter version, of those probed so far."""
    exited: "list[Exited]" = []
    """What ended since the last connection. Here, so that it is heard before what does not run any more is missed."""
    zygotes: dict[RevisionId, float] = {}
    """Revisions that have a zygote of their own -> its memory in MiB."""
    keeps_zygotes: bool = False
    """Whether this keeper can: KeepZygote is sent to no other."""
    memory_mib: float = 0.0
    """What there is for Corral and all that it runs, by the machine or by a group around it. 0: not known."""


class SlotReady(Message, frozen=True):
    """A slot was prepared: its socket listens at `address`. Each is used once."""

    slot: SlotId
    address: str
    is_bare: bool = False
    """No child is parked in it: for instances that a revision's own zygote forks."""


class Started(Message, frozen=True):
    """For a Start without a slot: the child was forked, and serves at `address`."""

    instance: InstanceId
    pid: int
    address: str


class Exited(Message, frozen=True):
    """The instance ended or could not be started, and everything of it is gone."""

    instance: InstanceId
    cause: ExitCause
    detail: str
    """A sentence: signal or status, limits that were hit."""
    cpu_s: float = 0.0
    memory_peak_mib: float = 0.0
    revision: RevisionId | None = None
    """None: it never ran. An engine that has just begun may not know the instance."""


class Used(Message, frozen=True):
    """Once a second while anything runs: instance -> (cpu seconds in all, memory in MiB now)."""

    instances: dict[InstanceId, tuple[float, float]]
    zygotes: dict[RevisionId, float] = {}
    """Revision -> memory of its zygote in MiB now."""


class Measured(Message, frozen=True):
    instance: InstanceId
    memory_mib: float


class ZygoteKept(Message, frozen=True):
    """The revision's zygote has loaded its code and forks from now on."""

    revision: RevisionId
    memory_mib: float
    load_s: float
    """What each start saves."""


class ZygoteGone(Message, frozen=True):
    """The revision has no zygote (any more); its instances are started plainly."""

    revision: RevisionId
    why: str
    """A sentence."""
    is_unsafe: bool = False
    """Its code can't be forked safely (threads, sockets or child processes at import), now or later."""


class Built(Message, frozen=True):
    """A Build ended; the layer is on disk, or nothing of it is."""

    revision: RevisionId
    error: str = ""
    """A sentence; empty: it is there."""
    output: str = ""
    """With an error: the last lines that the installer wrote."""


class ZygoteUp(Message, frozen=True):
    runtime: str
    pid: int


class ZygoteDown(Message, frozen=True):
    runtime: str
    detail: str


class LogGrew(Message, frozen=True):
    """The log of this followed function has new lines on disk. At most every 50 ms."""

    key: FunctionKey


FromGateway = Hello | Holding | Want | Observed | Ready | Failed | Released | Overrun | Dropped | CallLost | CallEnded
ToGateway = (
    Hello
    | RevisionPut
    | RevisionDrop
    | RoutePut
    | RouteDrop
    | TokenPut
    | Watch
    | Synced
    | Assign
    | Release
    | Retire
    | Gone
    | Block
    | Queued
)
ToKeeper = (
    Hello
    | Start
    | KeepZygote
    | DropZygote
    | Measure
    | Build
    | BuildDrop
    | LayerDrop
    | LayersKept
    | Stop
    | Follow
    | Forget
    | Note
)
FromKeeper = (
    Hello
    | Inventory
    | SlotReady
    | Started
    | Exited
    | Used
    | Measured
    | ZygoteKept
    | ZygoteGone
    | Built
    | ZygoteUp
    | ZygoteDown
    | LogGrew
)

Incoming = TypeVar("Incoming")
_encoder = msgspec.msgpack.Encoder()


class LinkBroken(CorralError):
    """The other side closed, or sent what this version does not know."""


class Link(asyncio.Protocol, Generic[Incoming]):
    """One end of a link. `receive` is called in order, on the loop, for every message but Hello, which goes to
    `opened`. `closed` is called once. A message that cannot be read closes the link: both sides start anew."""

    def __init__(
        self,
        types: object,
        *,
        hello: Hello,
        opened: "Callable[[Link[Incoming], Hello], None]",
        receive: "Callable[[Link[Incoming], Incoming], None]",
        closed: "Callable[[Link[Incoming]], None]",
    ) -> None:
        self._decoder: msgspec.msgpack.Decoder[Incoming | Hello] = msgspec.msgpack.Decoder(
            cast(type[Incoming | Hello], types)
        )
        self._hello = hello
        self._opened, self._receive, self._closed = opened, receive, closed
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self.peer: Hello | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no asyncio.Transport, they only behave as one.
        self._transport = transport = cast(asyncio.Transport, transport)
        # A peer that stops reading must not make us wait: link messages are small and bounded in number.
        transport.set_write_buffer_limits(high=64 * 1024 * 1024)
        self.send(self._hello)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._closed(self)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while len(buffer) - start >= 4:
                (size,) = struct.unpack_from("!I", buffer, start)
                if size > MESSAGE_MAX_BYTES:
                    raise LinkBroken(f"a message of {size} bytes, must be at most {MESSAGE_MAX_BYTES}")
                if len(buffer) - start - 4 < size:
                    break
                message = self._decoder.decode(bytes(buffer[start + 4 : start + 4 + size]))
                start += 4 + size
                self._take(message)
        except (msgspec.MsgspecError, LinkBroken) as exc:
            role = "unknown" if self.peer is None else self.peer.role
            log.warning("link broken", extra={"peer": role, "why": str(exc)})
            # What it sends from now on is not read: it goes on from a state that we do not share.
            start = len(buffer)
            self.close()
        finally:
            del buffer[:start]

    def _take(self, message: "Incoming | Hello") -> None:
        if isinstance(message, Hello):
            if message.version != VERSION:
                raise LinkBroken(f"{message.role} speaks link version {message.version}, must be {VERSION}")
            self.peer = message
            self._opened(self, message)
        else:
            self._receive(self, message)

    def send(self, message: Message) -> None:
        """Queue one message. On a closed link it is dropped: the state is sent whole after the next connect."""
        if self._transport is not None:
            body = _encoder.encode(message)
            self._transport.write(struct.pack("!I", len(body)) + body)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    @property
    def is_open(self) -> bool:
        return self._transport is not None and self.peer is not None


async def keep_connected(path: str, make: Callable[[], Link[Incoming]], lost: asyncio.Event) -> None:
    """Connect to the unix socket `path` for ever: `make` gives a fresh Link for each attempt, `lost` is set by its
    `closed`. Retries after 1 ms, doubling to 100 ms. Ends only by cancellation."""
    delay = 0.001
    loop = asyncio.get_running_loop()
    while True:
        lost.clear()
        with contextlib.suppress(OSError):
            await loop.create_unix_connection(make, path)
            delay = 0.001
            await lost.wait()
        await asyncio.sleep(delay)
        delay = min(delay * 2, 0.1)
