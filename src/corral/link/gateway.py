"""What gateway and engine say to each other."""

import msgspec

from corral.link.wire import Hello, Message
from corral.model import ExitCause, FunctionKey, InstanceId, Observation, Revision, RevisionId, Style

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


class SeenCall(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A call that is over, for a recording: nothing of what was asked or answered."""

    revision: RevisionId
    arrived: float
    """Monotonic."""
    wait_s: float
    """From its arrival until an instance that could serve it had it, or until it was over without one."""
    service_s: float
    """From then to its answer's last byte; 0.0: it was not served."""
    is_cold: bool
    """Its instance was started for it."""
    status: int
    """As in CallEnded."""


class CallsSeen(Message, frozen=True):
    """Calls that are over, of namespaces that somebody records."""

    calls: list[SeenCall]
    left_out: int = 0
    """So many more before them were not told: there were too many."""


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
    choose: str
    """How its scaling rule has the instance chosen that takes a call: a row of policy.balance.CHOOSERS."""
    once: bool
    """An instance takes one call and is then given up."""
    slots: int | None
    """Calls at once that its scaling rule lets an instance have; None: as many as it takes."""

    @classmethod
    def of(
        cls, revision: Revision, choose: str = "most_recent", once: bool = False, slots: int | None = None
    ) -> "Served":
        spec = revision.spec
        return cls(
            revision.id, revision.key, revision.namespace, spec.private, spec.timeout_s, spec.hold_s,
            spec.body_max_mib, spec.queue, revision.concurrency, choose, once, slots,
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
    tags: dict[str, RevisionId] = msgspec.field(default_factory=dict)
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


class Record(Message, frozen=True):
    """Calls of these namespaces are recorded from now on, and no others: CallsSeen is sent while there are any."""

    namespaces: list[str]
    """`*`: all."""


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


FromGateway = (
    Hello | Holding | Want | Observed | Ready | Failed | Released | Overrun | Dropped | CallLost | CallEnded | CallsSeen
)
ToGateway = (
    Hello
    | RevisionPut
    | RevisionDrop
    | RoutePut
    | RouteDrop
    | TokenPut
    | Watch
    | Record
    | Synced
    | Assign
    | Release
    | Retire
    | Gone
    | Block
    | Queued
)
