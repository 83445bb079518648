"""Changes of functions that are under way. The one begun last stands: who is overtaken hears of it at once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from corral.engine.verification import Verification
from corral.errors import Conflict
from corral.model import FunctionKey, Revision
from corral.ports import StoredFunction

Plan = Callable[[StoredFunction | None], StoredFunction]
"""What is to be, from what is (None: no such function). Asked when instances are readied and again when it is written
down, as what is may have changed meanwhile. Raises the fault that says why it can't be."""


class Change:
    """Of one function, from when it is asked for until it counts or is given up."""

    def __init__(self, key: FunctionKey, *, moves_calls: bool = True) -> None:
        self.key = key
        self.moves_calls = moves_calls
        """False: it neither overtakes nor is overtaken; only its function may be deleted."""
        self.plan: Plan = _nothing
        self.new: Revision | None = None
        """What it deploys; None: it only says where calls go."""
        self.verifications: list[Verification] = []
        self._fault: Conflict | None = None

    def check(self) -> None:
        """Raises Conflict when it was overtaken."""
        if self._fault is not None:
            raise self._fault

    def overtaken(self, fault: Conflict) -> None:
        self._fault = self._fault or fault
        for verification in self.verifications:
            verification.failed(fault)


class Changes:
    """Those under way, of each function in the order of their beginning."""

    def __init__(self) -> None:
        self._under_way: dict[FunctionKey, list[Change]] = {}

    @contextmanager
    def begun(self, changes: Sequence[Change]) -> Iterator[None]:
        """They are under way until the block ends."""
        for change in changes:
            self._under_way.setdefault(change.key, []).append(change)
        try:
            yield
        finally:
            for change in changes:
                others = self._under_way[change.key]
                others.remove(change)
                if not others:
                    del self._under_way[change.key]

    def counts(self, change: Change) -> None:
        """It has been written down. Those of its function that began before were made from what is no more."""
        if not change.moves_calls:
            return
        what = "calls were sent elsewhere meanwhile"
        if change.new is not None:
            what = f"deployed again meanwhile, as revision {change.new.number}"
        for other in self._under_way[change.key]:
            if other is change:
                break
            if other.moves_calls:
                other.overtaken(Conflict(f"{change.key}: {what}"))

    def deleted(self, key: FunctionKey) -> None:
        """The function is gone: that was meant for all that is under way."""
        for change in self._under_way.get(key, ()):
            change.overtaken(Conflict(f"{key} was deleted while it was being deployed"))


def _nothing(before: StoredFunction | None) -> StoredFunction:
    raise AssertionError("a change is carried out only when it has a plan")
