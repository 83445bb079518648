"""Who records what the engine hears and decides: the calls that are over, and the Roster's journal. docs/recording.md
has the format.

While nobody records nothing is told and nothing is written down. A reader that does not keep up gets its calls in
part, with the number of those left out; its journal, which must have no gap, ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec

from corral import __version__, link
from corral.clock import Clock
from corral.engine.links import Links, Peer
from corral.engine.revisions import Revisions
from corral.errors import Conflict
from corral.model import RevisionId
from corral.roster import Roster
from corral.roster.journal import Entry, Journal, state_of

FORMAT = 1
EVERY = "*"
READERS_MAX = 8
KEPT_MAX_BYTES = 32 * 1024 * 1024
"""Of one reader that does not keep up, besides the state it begins with."""
GATHER_S = 0.1
"""Lines that come within this time go out together."""


class Recording:
    """One reader's. It has read all of before when it takes what is there."""

    def __init__(self, namespace: str | None) -> None:
        self.namespace = namespace
        """None: all of them, with the journal."""
        self.grown = asyncio.Event()
        """Set when there is more to take; the reader clears it."""
        self.is_cut = False
        """Nothing comes any more: the reader did not keep up."""
        self._lines: list[bytes] = []
        self._bytes = 0
        self._left_out = 0
        self._told: set[RevisionId] = set()
        """Revisions that were described."""

    def take(self) -> bytes:
        taken = b"".join(self._lines)
        self._lines, self._bytes = [], 0
        return taken

    async def read(self, until: float) -> AsyncIterator[bytes]:
        """Whole lines as they come, until the moment `until` of the loop's clock, or until it is cut."""
        yield self.take()
        loop = asyncio.get_running_loop()
        while not self.is_cut and loop.time() < until:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self.grown.wait()
                    await asyncio.sleep(GATHER_S)
            self.grown.clear()
            yield self.take()

    def add(self, line: bytes) -> None:
        """What must not be left out."""
        if self.is_cut:
            return
        if self._bytes > KEPT_MAX_BYTES:
            self.is_cut = True
            line = line_of(cut="it was not read as fast as it grew")
        self._lines.append(line)
        self._bytes += len(line)
        self.grown.set()

    def add_calls(self, calls: list[link.SeenCall], left_out: int) -> None:
        self._left_out += left_out
        if self._bytes > KEPT_MAX_BYTES / 2:
            self._left_out += len(calls)
            return
        self.add(line_of(calls=calls, left_out=self._left_out))
        self._left_out = 0

    def is_new(self, revision: RevisionId) -> bool:
        """Whether it was not described yet; from now on it was."""
        is_new = revision not in self._told
        self._told.add(revision)
        return is_new


class Recorder:
    def __init__(self, plan: Roster, links: Links, revisions: Revisions, clock: Clock) -> None:
        self._roster, self._links, self._revisions, self._clock = plan, links, revisions, clock
        self._journal = Journal(plan, self._happened)
        self._recordings: list[Recording] = []

    @contextlib.contextmanager
    def record(self, namespace: str | None) -> Iterator[Recording]:
        """Until the block ends. None: all namespaces, with the journal. Raises Conflict when too many record."""
        if len(self._recordings) >= READERS_MAX:
            raise Conflict(f"{READERS_MAX} recordings are being made, as many as may be at once")
        recording = Recording(namespace)
        recording.add(self._head(namespace))
        if namespace is None:
            self._journal.close()
            recording.add(line_of(state=state_of(self._roster)))
        self._recordings.append(recording)
        self._arrange()
        try:
            yield recording
        finally:
            self._recordings.remove(recording)
            self._arrange()

    def _head(self, namespace: str | None) -> bytes:
        return line_of(
            corral_recording=FORMAT,
            version=__version__,
            namespace=namespace,
            wall=self._clock.wall(),
            now=self._clock.monotonic(),
        )

    def _arrange(self) -> None:
        """Events and calls are told as long as somebody records them."""
        self._journal.close()
        if any(each.namespace is None for each in self._recordings):
            self._journal.open()
        self._links.tell_gateways(self._record())

    def _record(self) -> link.Record:
        return link.Record(sorted({each.namespace or EVERY for each in self._recordings}))

    def gateway_up(self, gateway: Peer) -> None:
        """A new gateway knows of nobody."""
        if self._recordings:
            gateway.send(self._record())

    # -- what is recorded -----------------------------------------------------------------------------------

    def _happened(self, entry: Entry) -> None:
        line = msgspec.json.encode(entry) + b"\n"
        for recording in self._recordings:
            if recording.namespace is None:
                recording.add(line)

    def ended(self, message: link.CallsSeen) -> None:
        for recording in self._recordings:
            calls = message.calls
            if recording.namespace is not None:
                begins = f"{recording.namespace}/"
                calls = [each for each in calls if each.revision.startswith(begins)]
            for revision in {each.revision: None for each in calls}:
                if recording.is_new(revision):
                    recording.add(self._described(revision))
            # Of which namespace those were that were left out is not known.
            if calls or message.left_out:
                recording.add_calls(calls, message.left_out)

    def _described(self, revision: RevisionId) -> bytes:
        """What a race has to know of a revision; of its environment nothing."""
        known, memory = self._revisions.get(revision), self._roster.memory(revision)
        facts: dict[str, Any] = {"revision": revision}
        if known is not None:
            scaling = known.scaling
            facts |= {
                "concurrency": known.revision.concurrency,
                "memory_mib": known.revision.spec.memory_mib,
                "trigger": scaling.trigger,
                "engine": scaling.engine,
                "settings": msgspec.to_builtins(scaling.settings),
                "min": scaling.min,
                "max": scaling.max,
                "idle_s": scaling.idle_s,
            }
        if memory is not None and memory.is_measured:
            facts["used_mib"] = memory.charged_mib
        return line_of(function=facts)


def line_of(**fields: Any) -> bytes:
    return msgspec.json.encode(fields) + b"\n"
