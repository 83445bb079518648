"""What engine and keeper say to each other."""

import msgspec

from corral.link.wire import Hello, Message
from corral.model import ExitCause, FunctionKey, InstanceId, Revision, RevisionId, SlotId

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
    exited: "list[Exited]" = msgspec.field(default_factory=list)
    """What ended since the last connection. Here, so that it is heard before what does not run any more is missed."""
    zygotes: dict[RevisionId, float] = msgspec.field(default_factory=dict)
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
    zygotes: dict[RevisionId, float] = msgspec.field(default_factory=dict)
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
