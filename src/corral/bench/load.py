"""The open-loop generator: every call has its moment, fixed beforehand, and its latency counts from that moment, also
when the generator or the server was late. A plain loop over epoll in one thread: an event loop's timers tick in
milliseconds, and a thread more would take from the two cores what is to be measured."""

import ctypes
import select
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter

import msgspec

from corral.bench.schedule import Ask
from corral.bench.wires import Door, Wire

PR_SET_TIMERSLACK = 29
LEAD_S = 0.05
"""Between `run` and the plan's first call: time to open connections."""
LONG_PAUSE_S = 0.02
AWAKE_S = 0.002
"""Before a call that follows a pause of LONG_PAUSE_S or more the generator wakes up so much earlier."""
GRACE_S = 40.0
"""How long after the last planned call answers are waited for: beyond Corral's hold limit of 30 s."""


class Sample(msgspec.Struct, kw_only=True):
    """What became of one planned call. Moments are perf_counter seconds."""

    lane: int
    intended: float
    sent: float = 0.0
    """0.0: never sent."""
    done: float = 0.0
    """0.0: no answer came."""
    status: int = 0
    """0: no answer came."""
    body: bytes = b""
    error: str = ""

    @property
    def latency_ms(self) -> float:
        return (self.done - self.intended) * 1000

    @property
    def lateness_ms(self) -> float:
        """How late the generator was; it is part of the latency."""
        return (self.sent - self.intended) * 1000

    @property
    def succeeded(self) -> bool:
        return self.status == 200


class Lane:
    """One contender's connections. `most` open ones; beyond them calls wait, and their latency goes on counting."""

    def __init__(self, door: Door, *, ready: int = 1, most: int = 1000) -> None:
        self.door = door
        self.most = most
        self.idle: list[Wire] = [door() for _ in range(ready)]
        self.open = ready
        self.waiting: deque[int] = deque()

    def take_idle(self) -> Wire | None:
        """The one used last. None: there is none. A server ends what was idle for long, Corral after a minute: what can
        be read where nothing was asked is that end."""
        while self.idle:
            wire = self.idle.pop()
            poll = select.poll()
            poll.register(wire.fileno(), select.POLLIN)
            if not poll.poll(0):
                return wire
            wire.close()
            self.open -= 1
        return None

    def close(self) -> None:
        for wire in self.idle:
            wire.close()
        self.idle.clear()


class Generator:
    """Carries out one plan over some lanes."""

    def __init__(self, lanes: Sequence[Lane], *, grace_s: float = GRACE_S) -> None:
        self._lanes = lanes
        self._grace_s = grace_s
        self._epoll = select.epoll()
        self._busy: dict[int, tuple[Wire, int]] = {}
        self._plan: Sequence[Ask] = ()
        self._samples: list[Sample] = []

    def run(self, plan: Sequence[Ask]) -> list[Sample]:
        """One sample for each planned call, in the plan's order. Never raises for what a server does."""
        _tight_timers()
        start = perf_counter() + LEAD_S
        self._plan = plan
        self._samples = [Sample(lane=ask.lane, intended=start + ask.at) for ask in plan]
        end = start + (plan[-1].at if plan else 0.0) + self._grace_s
        try:
            self._carry_out(end)
        finally:
            self._abandon()
        return self._samples

    def _carry_out(self, end: float) -> None:
        samples, upcoming = self._samples, 0
        while True:
            now = perf_counter()
            while upcoming < len(samples) and samples[upcoming].intended <= now:
                self._begin(upcoming)
                upcoming += 1
            if upcoming == len(samples) and not self._busy:
                return
            until = samples[upcoming].intended if upcoming < len(samples) else end
            # select() waits in microseconds where epoll_wait() rounds up to milliseconds; with the epoll descriptor
            # as its only one it costs the same however many connections there are.
            readable, _, _ = select.select([self._epoll], [], [], _nap(until - perf_counter()))
            if readable:
                for descriptor, _ in self._epoll.poll(0):
                    self._hear(descriptor)
            elif upcoming == len(samples) and perf_counter() >= end:
                return

    def _begin(self, index: int) -> None:
        lane = self._lanes[self._plan[index].lane]
        wire = lane.take_idle()
        if wire is None and lane.open >= lane.most:
            lane.waiting.append(index)
            return
        sample = self._samples[index]
        try:
            wire = wire or self._open(lane)
            sample.sent = perf_counter()
            wire.ask(self._plan[index].request)
        except OSError as exc:
            self._fail(lane, sample, wire, exc)
            return
        descriptor = wire.fileno()
        self._busy[descriptor] = (wire, index)
        self._epoll.register(descriptor, select.EPOLLIN)

    def _open(self, lane: Lane) -> Wire:
        lane.open += 1
        return lane.door()

    def _hear(self, descriptor: int) -> None:
        wire, index = self._busy[descriptor]
        sample = self._samples[index]
        lane = self._lanes[sample.lane]
        try:
            answer = wire.heard()
        except OSError as exc:
            self._forget(descriptor)
            self._fail(lane, sample, wire, exc)
            return
        if answer is None:
            return
        sample.done = perf_counter()
        sample.status, sample.body = answer
        self._forget(descriptor)
        lane.idle.append(wire)
        if lane.waiting:
            self._begin(lane.waiting.popleft())

    def _forget(self, descriptor: int) -> None:
        self._epoll.unregister(descriptor)
        del self._busy[descriptor]

    def _fail(self, lane: Lane, sample: Sample, wire: Wire | None, exc: OSError) -> None:
        lane.open -= 1
        if wire is not None:
            wire.close()
        sample.error = f"{type(exc).__name__}: {exc}"
        if lane.waiting:
            self._begin(lane.waiting.popleft())

    def _abandon(self) -> None:
        """Close what never answered: its connection cannot be used again."""
        for wire, index in self._busy.values():
            sample = self._samples[index]
            sample.error = f"no answer within {self._grace_s:g} s of the last planned call"
            self._lanes[sample.lane].open -= 1
            wire.close()
        self._busy.clear()
        self._epoll.close()


def _nap(ahead_s: float) -> float:
    """How long to sleep when the next call is so far ahead. An idle machine wakes up a millisecond late: before a call
    that follows a long pause the rest is spent awake. Between dense calls the machine is awake anyway."""
    if ahead_s > LONG_PAUSE_S:
        return ahead_s - AWAKE_S
    return 0.0 if ahead_s < 0 else ahead_s


def _tight_timers() -> None:
    """Linux lets a sleeper oversleep by 50 microseconds to save wake-ups; not this one."""
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)


def closed_loop(wire: Wire, request: bytes, count: int, clock: Callable[[], float] = perf_counter) -> list[float]:
    """Seconds of each of `count` calls, one after the other on one connection. Only for comparing two servers at one
    connection: a closed loop does not see what happens while it waits."""
    poll = select.poll()
    poll.register(wire.fileno(), select.POLLIN)
    seconds = []
    for _ in range(count):
        begin = clock()
        wire.ask(request)
        answer = None
        while answer is None:
            if not poll.poll(10_000):
                raise OSError("no answer within 10 s")
            answer = wire.heard()
        if answer.status != 200:
            raise OSError(f"answered {answer.status}: {answer.body[:200]!r}")
        seconds.append(clock() - begin)
    return seconds
