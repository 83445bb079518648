"""Any order of events, against a model that only counts slots: none is lost, none is taken twice."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.errors import LoadFailed
from corral.model import CallId, InstanceId, RevisionId
from corral.policy.balance import CHOOSERS, MOST_RECENT
from corral.pool import Action, Dispatch, Limits, Orphan, Outcome, Pool, Refuse, Released, Want

EVENTS = ("offer", "offer", "offer", "done", "done", "cancel", "joined", "joined", "freed", "retire", "lost", "release")
RARE = ("block", "lift", "configure", "rechoose", "tick", "observe", "again")
Step = tuple[str, int, float]
steps = st.lists(
    st.tuples(st.sampled_from(EVENTS + RARE), st.integers(0, 7), st.sampled_from([0.0, 0.001, 0.01, 0.3, 2.0])),
    # Without a least size most lists would be too short to bring any instance through its whole life.
    min_size=30,
    max_size=120,
)


class Model:
    """Applies events to a pool and believes nothing: each action has to be possible by the model's own books."""

    def __init__(self, concurrency: int, queue: int, choose: str = MOST_RECENT, once: bool = False) -> None:
        self.concurrency, self.queue, self.now, self.last_call = concurrency, queue, 0.0, 0
        self.choose, self.once = choose, once
        self.pool = Pool(RevisionId("default/f@1"), self.limits())
        self.waiting: dict[CallId, float] = {}
        self.orphans: list[CallId] = []
        self.calls: dict[InstanceId, set[CallId]] = {}
        self.foreign: dict[InstanceId, int] = {}
        self.retiring: set[InstanceId] = set()
        self.blocked_until = 0.0
        self.in_flight_s = self.executing_s = 0.0
        self.last_want = float("-inf")
        self.log: list[Action | None] = []

    def step(self, event: str, number: int, elapsed: float) -> None:
        self._pass(elapsed)
        getattr(self, event)(number)
        self.check()

    def _pass(self, elapsed: float) -> None:
        """Time goes on as in production: `tick` is called at `next_at`."""
        end = self.now + elapsed
        while self.pool.next_at is not None and self.pool.next_at <= end:
            self._go(max(self.now, self.pool.next_at))
            self.take(self.pool.tick(self.now))
        self._go(end)

    def _go(self, to: float) -> None:
        executing = self.executing
        self.executing_s += executing * (to - self.now)
        self.in_flight_s += (executing + len(self.waiting)) * (to - self.now)
        self.now = to

    def limits(self) -> Limits:
        return Limits(concurrency=self.concurrency, queue=self.queue, choose=self.choose, once=self.once)

    @property
    def executing(self) -> int:
        return sum(len(calls) for calls in self.calls.values()) + sum(self.foreign.values())

    def offer(self, number: int) -> None:
        self.last_call += 1
        call = CallId(self.last_call)
        self.waiting[call] = self.now + (0.05, 1.0, 30.0)[number % 3]
        self.take(self.pool.offer(call, self.now, self.waiting[call]))

    def again(self, _: int) -> None:
        if self.orphans:
            call = self.orphans.pop()
            self.waiting[call] = self.now + 5.0
            self.take(self.pool.offer(call, self.now, self.waiting[call], front=True))

    def done(self, number: int) -> None:
        executing = sorted(call for calls in self.calls.values() for call in calls)
        call = executing[number % len(executing)] if executing else CallId(999_999)
        for calls in self.calls.values():
            calls.discard(call)
        self.take(self.pool.done(call, list(Outcome)[number % 4], self.now))

    def cancel(self, number: int) -> None:
        call = CallId(max(0, self.last_call - number))
        self.waiting.pop(call, None)
        self.take(self.pool.cancel(call, self.now))

    def joined(self, number: int) -> None:
        instance = InstanceId(f"i{number % 4}")
        if instance not in self.calls:
            self.calls[instance] = set()
            self.foreign[instance] = min(number // 4 * 2, self.concurrency)
            if self.once and self.foreign[instance]:
                self.retiring.add(instance)
        self.take(self.pool.joined(instance, self.now, self.foreign[instance]))

    def freed(self, number: int) -> None:
        instance = InstanceId(f"i{number % 4}")
        if self.foreign.get(instance):
            self.foreign[instance] -= 1
        self.take(self.pool.freed(instance, self.now))

    def retire(self, number: int) -> None:
        instance = InstanceId(f"i{number % 4}")
        if instance in self.calls:
            self.retiring.add(instance)
        self.take(self.pool.retire(instance, self.now))

    def lost(self, number: int) -> None:
        instance = InstanceId(f"i{number % 4}")
        calls = self.calls.pop(instance, set())
        self.foreign.pop(instance, None)
        self.retiring.discard(instance)
        actions = self.pool.lost(instance, self.now)
        orphans = [action.call for action in actions if isinstance(action, Orphan)]
        assert sorted(orphans) == sorted(calls)
        self.orphans += orphans
        self.take([action for action in actions if not isinstance(action, Orphan)])

    def release(self, number: int) -> None:
        idle = [each for each in self.calls if not self.taken(each) and each not in self.retiring]
        actions = self.pool.release(number, self.now)
        assert len(actions) == min(number, len(idle))
        self.take(actions)

    def block(self, number: int) -> None:
        self.blocked_until = self.now + number
        self.take(self.pool.block(LoadFailed("broken"), self.blocked_until, self.now))

    def lift(self, _: int) -> None:
        self.blocked_until = 0.0
        self.take(self.pool.block(None, 0.0, self.now))

    def configure(self, number: int) -> None:
        self.concurrency = max(1, number)
        self.take(self.pool.configure(self.limits(), self.now))

    def rechoose(self, number: int) -> None:
        self.choose = list(CHOOSERS)[number % len(CHOOSERS)]
        if number == 7:
            self.once = not self.once
            if self.once:  # those that stand may have had a call
                self.retiring |= set(self.calls)
        self.take(self.pool.configure(self.limits(), self.now))

    def tick(self, _: int) -> None:
        self.take(self.pool.tick(self.now))

    def observe(self, _: int) -> None:
        seen = self.pool.observe(self.now)
        assert (seen.concurrency_s if seen else 0.0) == pytest.approx(self.in_flight_s, abs=1e-6)
        assert (seen.executing_s if seen else 0.0) == pytest.approx(self.executing_s, abs=1e-6)
        assert seen is not None or self.in_flight_s == 0.0
        self.in_flight_s = self.executing_s = 0.0

    def taken(self, instance: InstanceId) -> int:
        return len(self.calls[instance]) + self.foreign[instance]

    def take(self, actions: Sequence[Action]) -> None:
        self.log += [*actions, None]
        for action in actions:
            match action:
                case Dispatch(call, instance):
                    del self.waiting[call]
                    assert instance not in self.retiring
                    assert self.taken(instance) < self.concurrency
                    self.calls[instance].add(call)
                    if self.once:
                        self.retiring.add(instance)
                case Refuse(call, _):
                    del self.waiting[call]
                case Released(instance):
                    assert self.taken(instance) == 0
                    del self.calls[instance], self.foreign[instance]
                    self.retiring.discard(instance)
                case Want(waiting, executing, _):
                    assert waiting == len(self.waiting) > 0
                    assert executing == self.executing
                    assert self.now >= self.last_want + 0.01 - 1e-9
                    self.last_want = self.now
                case Orphan():
                    raise AssertionError("only a lost instance leaves orphans")

    def check(self) -> None:
        pool = self.pool
        assert pool.waiting == len(self.waiting)
        assert pool.executing == self.executing
        assert sorted(pool.instances) == sorted(self.calls)
        accepting = [each for each in self.calls if each not in self.retiring]
        if self.waiting:
            assert all(self.taken(each) >= self.concurrency for each in accepting), "waits though a slot is free"
            assert accepting or self.now >= self.blocked_until, "waits though blocked"
            assert pool.next_at is not None
            assert pool.next_at <= min(self.waiting.values()), "would be held past its limit"
            assert pool.next_at <= max(self.now, self.last_want + 1.0), "a lost Want would never be repeated"
        else:
            assert pool.next_at is None

    def finish(self) -> None:
        """Everything ends: every slot is free again and every instance can be given up."""
        for call in list(self.waiting):
            self.waiting.pop(call)
            self.take(self.pool.cancel(call, self.now))
        while self.executing:
            for number in range(4):
                self.freed(number)
            self.done(0)
        self.release(len(self.calls))
        self.check()
        assert self.calls == {}


rules = st.sampled_from(list(CHOOSERS))


@given(st.integers(1, 3), st.integers(0, 5), rules, st.booleans(), steps)
def test_no_order_of_events_loses_a_slot_or_takes_one_twice(
    concurrency: int, queue: int, choose: str, once: bool, events: list[Step]
) -> None:
    model = Model(concurrency, queue, choose, once)
    for event in events:
        model.step(*event)
    model.finish()


@given(st.integers(1, 3), rules, steps)
def test_replayed_events_give_the_same_actions(concurrency: int, choose: str, events: list[Step]) -> None:
    def run() -> list[str]:
        model = Model(concurrency, queue=5, choose=choose)
        for event in events:
            model.step(*event)
        return [repr(action) for action in model.log]

    assert run() == run()
