"""What the rooms need from outside, as small protocols."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from corral.model import ExitCause, FunctionKey, InstanceId, Revision, RevisionId, ScalingValue, Share, SlotId


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """All a backend needs to start one instance."""

    instance: InstanceId
    slot: SlotId
    revision: Revision
    package: str
    """Folder of the code on this host."""
    layer: str | None = None
    """Folder of its dependencies on this host; None: it has none."""
    code: bytes | None
    """The marshalled entry module, if an earlier instance gave it."""
    log_fd: int
    """The function's output goes here (a FIFO opened read-write, owned by the caller)."""
    stamps: dict[str, float]


class Keep(msgspec.Struct, frozen=True, kw_only=True):
    """All a backend needs to raise a zygote of one revision."""

    name: InstanceId
    """Of the zygote, in its function's log; given once."""
    revision: Revision
    package: str
    layer: str | None = None
    code: bytes | None
    log_fd: int
    """These four as in Launch."""


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """How an instance ended."""

    instance: InstanceId
    cause: ExitCause
    detail: str
    cpu_s: float = 0.0
    memory_peak_mib: float = 0.0


class Sandbox(Protocol):
    """A backend: how instances are kept apart on this host. One shared contract suite runs over all of them.
    Everything runs on the keeper's loop; nothing blocks longer than a system call."""

    tier: str
    """Its name in BACKENDS."""
    runtimes: dict[str, str]
    """Runtime -> interpreter version, of those that were up."""

    def warm(self) -> None:
        """Begin what makes the first starts quick, in the background."""
        ...

    def user_of(self, revision: Revision) -> int | None:
        """The numeric user its instances run as; None: the keeper's own."""
        ...

    def zygote_pids(self) -> dict[str, int]:
        """Runtime -> pid of the process its instances are forked from; empty in a backend that has none."""
        ...

    async def prepare(self, slot: SlotId, is_bare: bool = False) -> str:
        """Make a slot ahead of need; its address. The socket listens from now on. `is_bare`: no child shall wait in it,
        as a revision's own zygote will fork one."""
        ...

    def discard(self, slot: SlotId) -> None:
        """Give up a slot that was prepared and will not be used. Nothing, if it is not there."""
        ...

    def start(self, launch: Launch) -> None:
        """Begin starting; the outcome comes through `started` or `ended`, given at construction."""
        ...

    def stop(self, instance: InstanceId, cause: ExitCause) -> None:
        """Kill all of it. `ended` follows when nothing of it is left."""
        ...

    keeps_zygotes: bool
    """Whether revisions may have zygotes of their own here."""

    def keep(self, keep: Keep) -> bool:
        """Raise a zygote of the revision; `zygote_kept` or `zygote_gone` tells. Once there is one, the revision's
        instances are its forks. False: there is one already, or it is being raised; it stays."""
        ...

    def drop(self, revision: RevisionId) -> None:
        """Give it up; its instances go on. `zygote_gone` tells, if there was one."""
        ...

    def zygotes(self) -> dict[RevisionId, float]:
        """Revision with a zygote of its own -> memory of that in MiB now."""
        ...

    def usage(self) -> dict[InstanceId, tuple[float, float]]:
        """Running instance -> (cpu seconds in all, memory in MiB now)."""
        ...

    def usage_of(self, instance: InstanceId) -> tuple[float, float] | None:
        """The same of one instance; None: it does not run."""
        ...

    async def close(self) -> None:
        """End everything."""
        ...


class SandboxEvents(Protocol):
    """Who is told what happens in a sandbox backend. Called on its loop."""

    def started(self, instance: InstanceId, pid: int, address: str) -> None: ...
    def ended(self, exit: Exit) -> None:
        """Nothing of the instance is left but bytes in its log. Once for every start."""
        ...

    def zygote_up(self, runtime: str, pid: int) -> None: ...
    def zygote_down(self, runtime: str, detail: str) -> None: ...
    def zygote_kept(self, revision: RevisionId, memory_mib: float, load_s: float) -> None: ...
    def zygote_gone(self, name: InstanceId, revision: RevisionId, why: str, is_unsafe: bool) -> None:
        """It forks no more; `name` is that of its Keep, whose log_fd is not written to any more."""
        ...


class Tuning(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What was set of a function's scaling while it served. None: as its deployment says."""

    scaling: dict[str, ScalingValue] | None = None
    min: int | None = None
    max: int | None = None
    idle_s: float | None = None


class StoredFunction(msgspec.Struct, frozen=True, kw_only=True):
    """A deployed function as kept."""

    revisions: Sequence[Revision]
    """At least one; oldest first, all of one user."""
    traffic: Sequence[Share]
    """Where its calls go. Each share's revision is among `revisions`."""
    proven: Sequence[int] = ()
    """Those of its revisions, by number, that have had all its calls, in the order they got them; without those that
    were left by going back."""
    updated_at: float
    tuning: Tuning = Tuning()

    @property
    def key(self) -> FunctionKey:
        return self.revisions[0].key

    def revision(self, number: int) -> Revision | None:
        return next((each for each in self.revisions if each.number == number), None)


class StoredToken(msgspec.Struct, frozen=True, kw_only=True):
    digest: str
    """SHA-256 of the token, hex; the token itself is not kept."""
    label: str
    namespaces: Sequence[str]
    """Names, or `*`."""
    manage: bool
    invoke: bool
    created_at: float


class Store(Protocol):
    """What must outlive the engine. Each method returns when it is on disk."""

    async def load(self) -> tuple[Sequence[StoredFunction], Sequence[StoredToken]]: ...
    async def next_number(self, key: FunctionKey) -> int:
        """A revision number never given before for this function, also across deletions."""
        ...

    async def put_functions(self, functions: Iterable[StoredFunction]) -> None:
        """All or none. Revisions of theirs that are not named are gone."""
        ...

    async def delete_function(self, key: FunctionKey) -> bool:
        """False: there was none."""
        ...

    async def load_defaults(self) -> Mapping[str, Mapping[str, ScalingValue]]:
        """Namespace -> the scaling of its functions that say nothing of their own."""
        ...

    async def put_default(self, namespace: str, scaling: Mapping[str, ScalingValue]) -> None:
        """Empty: it has none."""
        ...

    async def load_working_sets(self) -> Mapping[RevisionId, int]:
        """Revision -> MiB that an instance of it was seen to use."""
        ...

    async def put_working_sets(self, learned: Mapping[RevisionId, int]) -> None: ...
    async def drop_working_sets(self, revisions: Iterable[RevisionId]) -> None: ...
    async def put_token(self, token: StoredToken) -> None: ...
    async def delete_token(self, digest: str) -> bool: ...


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """Dependencies as texts for an installer, one in a line."""

    requirements: str
    constraints: str
    """They limit versions and ask for nothing."""


class Needed(msgspec.Struct, frozen=True, kw_only=True):
    """What a package needs besides itself."""

    layer: str
    """sha256, hex: the same for the same dependencies and interpreter."""
    source: str
    """The file of the package that names them."""
    count: int
    """Requirements, those left out that they bring along."""
    is_plain: bool
    """All are to come from the index, and none brings options of its own."""
    written: Written | None
    """None: some of it lies in the package, and `source` has to be read there."""


IDLE_MINUTES_MAX = 240
"""Idle times of four hours and more are counted together: no rule keeps an instance for longer."""


class MinuteSeen(msgspec.Struct, frozen=True, kw_only=True):
    """The demand for one function in one minute in which it had calls."""

    key: FunctionKey
    minute: int
    """Since 1970, UTC, by the wall clock."""
    calls: int
    """That arrived; 0: one went on."""
    idle_times: Mapping[int, int]
    """Whole minutes (up to IDLE_MINUTES_MAX, which means that and more) -> how often a call in this minute ended that
    long a time without any."""


class DemandStore(Protocol):
    """What was seen of the demand for functions: the newest 14 days with calls."""

    async def add(self, minutes: Sequence[MinuteSeen]) -> None:
        """Those of functions that are not deployed are left out. A minute that is there already is added to."""
        ...

    async def load(self, key: FunctionKey, first_minute: int) -> Sequence[MinuteSeen]:
        """From this minute on, in the order they were seen within each hour."""
        ...

    async def last_calls(self) -> Mapping[FunctionKey, int]:
        """The last minute with a call, of each function that ever had one."""
        ...


class Packages(Protocol):
    """The code that was uploaded, unpacked."""

    async def add(self, namespace: str, archive: Path) -> str:
        """Unpack `archive` (a tar, also gzipped) for the namespace; the sha256 of its contents, hex. On disk when it
        returns. Raises Invalid when something in it is refused."""
        ...

    def has(self, namespace: str, package: str) -> bool: ...
    async def needed(self, namespace: str, package: str, runtime: str) -> Needed | None:
        """None: it has no dependencies. Raises Invalid when what it says of them cannot be understood."""
        ...

    def hold(self, namespace: str, package: str) -> None:
        """One more refers to it."""
        ...

    def drop(self, namespace: str, package: str) -> None:
        """One of those that `hold` told of refers to it no more."""
        ...

    def deployed(self, namespace: str, package: str) -> None:
        """What it was uploaded for was done: from now on it stays only while it is held."""
        ...

    async def clear(self) -> bool:
        """Remove what was dropped by its last holder, unless it waits for its deployment, and what has waited for an
        hour. False: not now, ask later."""
        ...


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a token, by what it allows."""

    label: str
    namespaces: Sequence[str]
    """Names, or `*`."""
    manage: bool
    invoke: bool

    def may_manage(self, namespace: str) -> bool:
        return self.manage and self.reaches(namespace)

    def may_invoke(self, namespace: str) -> bool:
        return self.invoke and self.reaches(namespace)

    def reaches(self, namespace: str) -> bool:
        return "*" in self.namespaces or namespace in self.namespaces
