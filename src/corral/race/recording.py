"""Reader of what `corral record` wrote (docs/recording.md): its calls as a trace, and its journal to be replayed."""

import gzip
import zlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import floor
from pathlib import Path
from statistics import median
from typing import Any, BinaryIO, cast

import msgspec

from corral.errors import Invalid
from corral.model import RevisionId, key_of
from corral.race.azure2021 import durations_of
from corral.race.rows import check_memory, free_mib, sha256_of
from corral.race.trace import DAYS_MAX, SERVICE_MAX_S, Calls, Function, Trace
from corral.roster.journal import Entry, replay, roster_of

BEGINS = '{"corral_recording":'
FORMAT = 1
GZIP = b"\x1f\x8b"
UNKNOWN_MEMORY_MIB = 128.0
LINE_MAX_BYTES = 256 * 1024 * 1024
"""The state of a million functions; a packed file may unfold to anything."""


class Head(msgspec.Struct, frozen=True):
    """The first line."""

    corral_recording: int
    version: str
    namespace: str | None
    wall: float
    now: float
    """The monotonic moment of its begin, by which all moments in it go."""


class Line(msgspec.Struct, frozen=True):
    """Any other line: what it holds says which kind it is."""

    function: Mapping[str, Any] | None = None
    calls: Sequence[tuple[str, float, float, float, bool, int]] | None = None
    """(revision, arrived, wait_s, service_s, is_cold, status)"""
    left_out: int = 0
    event: str | None = None
    args: msgspec.Raw = msgspec.Raw(b"[]")
    named: msgspec.Raw = msgspec.Raw(b"{}")
    actions: msgspec.Raw = msgspec.Raw(b"[]")
    state: msgspec.Raw = msgspec.Raw()
    """Empty: it has none."""
    cut: str | None = None
    end: Mapping[str, Any] | None = None


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    events: int
    actions: int
    difference: str
    """Where the first other action was, in a sentence; empty: there was none."""


BYTES_PER_CALL = 150
"""What reading takes at its peak, when calls are put in order. How many a packed file holds, its size doesn't say."""


class Reader:
    """One file, line by line. Every fault names the file and the line."""

    def __init__(self, path: Path) -> None:
        """Raises Invalid."""
        self.path, self.line = path, 1
        self._lines = self._read()
        self.head = self._decode(next(self._lines, b""), Head)
        if self.head.corral_recording != FORMAT:
            raise self.fault(f"is of format {self.head.corral_recording}, must be {FORMAT}")

    def __iter__(self) -> Iterator[Line]:
        """The lines after the first. The last one may be cut off, as after a crash: it is left out."""
        for raw in self._lines:
            self.line += 1
            if raw.endswith(b"\n"):
                yield self._decode(raw, Line)

    def fault(self, problem: str) -> Invalid:
        return Invalid(f"{self.path} line {self.line}: {problem}")

    def _read(self) -> Iterator[bytes]:
        with self._readable(), self._open() as file:
            while raw := file.readline(LINE_MAX_BYTES):
                if len(raw) == LINE_MAX_BYTES:
                    self.line += 1
                    raise self.fault(f"is longer than {LINE_MAX_BYTES:,} bytes, the most that a line has")
                yield raw

    def _open(self) -> BinaryIO:
        with self.path.open("rb") as file:
            is_packed = file.read(2) == GZIP
        return cast(BinaryIO, gzip.open(self.path)) if is_packed else self.path.open("rb")

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except EOFError:
            return  # packed, and cut off: what came before counts
        except (OSError, zlib.error) as exc:
            raise Invalid(f"{self.path} cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc

    def _decode(self, raw: bytes, kind: Any) -> Any:
        try:
            return msgspec.json.decode(raw, type=kind)
        except msgspec.MsgspecError as exc:
            raise self.fault(f"{exc}, must be a line of a recording: is the file cut off, or something else?") from None


def is_recording(path: Path) -> bool:
    """By how it begins, packed or not. What cannot be read is none."""
    try:
        with path.open("rb") as file:
            begins = file.read(len(BEGINS))
        if begins[:2] == GZIP:
            with gzip.open(path) as packed:
                begins = packed.read(len(BEGINS))
    except (OSError, EOFError, zlib.error):
        return False
    return begins == BEGINS.encode()


# -- as a trace ---------------------------------------------------------------------------------------------


class _Function:
    def __init__(self) -> None:
        self.facts: Mapping[str, Any] = {}
        # Of each call, in the order they ended, as plain numbers: there may be millions.
        self.arrived = array("d")
        """Seconds after the recording began."""
        self.served = array("d")
        """For how long; 0.0: it was not."""

    def in_order(self) -> "tuple[array[float], array[float]]":
        """Both by arrival."""
        order = sorted(range(len(self.arrived)), key=self.arrived.__getitem__)
        return array("d", (self.arrived[at] for at in order)), array("d", (self.served[at] for at in order))


def read_recording(path: Path) -> Trace:
    """Minute 0 begins with the recording. Raises Invalid."""
    check_memory([path])
    reader = Reader(path)
    found: dict[str, _Function] = {}
    early = left_out = kept = 0
    room = free_mib() * 2**20 / BYTES_PER_CALL
    for line in reader:
        left_out += line.left_out
        if line.function is not None:
            name = key_of(RevisionId(str(line.function.get("revision", ""))))
            found.setdefault(name, _Function()).facts = line.function
        for revision, arrived, _, service_s, _, _ in line.calls or ():
            if arrived < reader.head.now:
                early += 1
                continue
            if not (arrived - reader.head.now < DAYS_MAX * 86_400 and 0 <= service_s <= SERVICE_MAX_S):
                raise reader.fault(
                    f"a call of {revision} at {arrived} for {service_s} s, must be within {DAYS_MAX} days of the first "
                    f"line's `now` and last 0 to {SERVICE_MAX_S} s"
                )
            function = found.setdefault(key_of(RevisionId(revision)), _Function())
            kept += 1
            function.arrived.append(arrived - reader.head.now)
            function.served.append(service_s)
        if kept > room:
            raise reader.fault(f"after {kept:,} calls the memory that is free is full: record a shorter time")
    called = {name: each for name, each in found.items() if each.arrived}
    if not called:
        raise Invalid(f"{path} holds no call that arrived while it was made")
    minutes = floor(max(max(each.arrived) for each in called.values()) / 60) + 1
    return Trace(
        functions=tuple(_function(name, each, minutes) for name, each in called.items()),
        first_minute=0,
        minutes=minutes,
        sha256={path.name: sha256_of(path)},
        source=str(path),
        notes=tuple(_notes(called, early, left_out)),
    )


def _function(key: str, seen: _Function, minutes: int) -> Function:
    namespace, _, name = key.partition("/")
    arrived, served = seen.in_order()
    usual = median([each for each in served if each] or [0.0])
    service = array("d", (each or usual for each in served))
    counts = array("I", bytes(4 * minutes))
    for moment in arrived:
        counts[floor(moment / 60)] += 1
    facts = seen.facts
    return Function(
        name=name,
        app=namespace,
        owner="",
        trigger=str(facts.get("trigger", "http")),
        memory_mib=float(facts.get("used_mib") or facts.get("memory_mib") or UNKNOWN_MEMORY_MIB),
        counts=counts,
        durations=durations_of(service),
        calls=Calls(arrived, service),
    )


def _notes(called: Mapping[str, _Function], early: int, left_out: int) -> Iterator[str]:
    unserved = sum(each.served.count(0.0) for each in called.values())
    if unserved:
        yield f"{unserved} calls were not served: each is taken to last as long as its function's median."
    if early:
        yield f"{early} calls arrived before the recording began, and are left out."
    if left_out:
        yield f"{left_out} calls were too many to be recorded, and are left out."
    unmeasured = sorted(name for name, each in called.items() if not each.facts.get("used_mib"))
    if unmeasured:
        yield f"The memory of {len(unmeasured)} functions was not measured yet: their limits are taken for it."
    shared = sorted(name for name, each in called.items() if each.facts.get("concurrency", 1) > 1)
    if shared:
        yield f"{len(shared)} functions took several calls at once in an instance: {', '.join(shared[:5])}."


# -- as a journal -------------------------------------------------------------------------------------------


def replayed(path: Path) -> Replayed:
    """The same events again, from the same state. Raises Invalid: it is none, or of another version."""
    reader = Reader(path)
    lines = iter(reader)
    first = next(lines, None)
    if reader.head.namespace is not None or first is None or not first.state:
        raise reader.fault("has no journal: only a recording of all namespaces has one")
    plan = roster_of(_decoded(reader, first.state))
    events = actions = 0
    for line in lines:
        if line.event is None:
            continue
        said = [_decoded(reader, each) for each in (line.args, line.named, line.actions)]
        entry = Entry(line.event, *said)
        again = replay(plan, entry)
        if again != entry.actions:
            return Replayed(events=events, actions=actions, difference=_difference(reader, entry, again))
        events += 1
        actions += len(again)
    return Replayed(events=events, actions=actions, difference="")


def _decoded(reader: Reader, raw: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except msgspec.MsgspecError as exc:
        raise reader.fault(str(exc)) from None


def _difference(reader: Reader, entry: Entry, again: Any) -> str:
    before, after = (msgspec.json.encode(each).decode()[:500] for each in (entry.actions, again))
    return f"{reader.path} line {reader.line}: {entry.event} led to {before}, and now leads to {after}"
