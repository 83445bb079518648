"""OpenWhisk's prewarmed containers: some of each kind at the start, one for each taken, more after cold starts.

1. At the start `initial` of each kind are made.
2. After one was taken they are filled up to `least`, or to `initial` where a kind is not reactive.
3. Every ten minutes those older than `ttl_s` expire, at most a hundred, the oldest first. Then a reactive kind is
   filled up to clamp(least, ⌊cold starts since the last check ÷ threshold⌋ × increment, most), or to `least` if there
   was none; what is above that stays until it expires. Where OpenWhisk ends an expired one and makes its like in the
   same check, the one there is stays: nothing distinguishes them.
4. A start takes one of its own kind, that which expires first; with promotion also one of the next larger memory.
Source: openwhisk, core/invoker ContainerPool; a kind and its numbers are an entry of `stemCells` in runtimes.json."""

from collections import Counter, deque

import msgspec

from corral.policy.stock import Kind, StockTerms, Supply

CHECK_S = 600.0
CHECK_VARIANCE_S = 10.0
"""Added once, drawn at the start: invokers that begin together do not check together."""
EXPIRED_AT_ONCE = 100


class Reactive(msgspec.Struct, frozen=True, kw_only=True):
    least: int = 1
    most: int = 4
    ttl_s: float = 120.0
    threshold: int = 1
    """Cold starts that count as one."""
    increment: int = 1
    """Instances for each of those."""

    def wanted(self, cold_starts: int) -> int:
        """After so many since the last check."""
        return min(max(self.least, cold_starts // self.threshold * self.increment), self.most)


class StemCell(msgspec.Struct, frozen=True, kw_only=True):
    kind: Kind
    initial: int = 2
    reactive: Reactive | None = Reactive()
    """None: always `initial`."""

    @property
    def backfill(self) -> int:
        return self.initial if self.reactive is None else self.reactive.least


def shipped(terms: StockTerms) -> tuple[StemCell, ...]:
    """As OpenWhisk comes: of the default runtime alone, at the default memory."""
    return tuple(StemCell(kind=Kind(runtime, 256)) for runtime in terms.runtimes[:1])


class _Shelf:
    """The unbound instances of one kind."""

    def __init__(self, cell: StemCell) -> None:
        self.cell = cell
        self.standing: deque[float] = deque()
        """When each expires, the oldest first; infinity where they do not."""
        self.making = 0
        self.cold_starts = 0
        """Of its kind, since the last check."""

    @property
    def count(self) -> int:
        return len(self.standing) + self.making

    def fill(self, least: int) -> None:
        self.making += max(0, least - self.count)

    def check(self, expired: int, now: float) -> None:
        """`expired` have just left it."""
        reactive = self.cell.reactive
        if reactive is not None:
            wanted = reactive.wanted(self.cold_starts)
            stays = min(expired, max(0, wanted - self.count))
            self.standing.extend([now + reactive.ttl_s] * stays)
            self.fill(wanted)
        self.cold_starts = 0

    @property
    def may_change(self) -> bool:
        """By a check."""
        reactive = self.cell.reactive
        return reactive is not None and bool(self.cold_starts or self.count or reactive.least)


class StemCells:
    """A Stock."""

    def __init__(
        self, terms: StockTerms, cells: tuple[StemCell, ...] | None = None, *, promotion: bool = False
    ) -> None:
        """`cells` None: as shipped. `promotion`: a start may take one that has more memory than it needs."""
        self._shelves = {cell.kind: _Shelf(cell) for cell in (shipped(terms) if cells is None else cells)}
        self._promotion = promotion
        self._period_s = CHECK_S + terms.rng.uniform(0.0, CHECK_VARIANCE_S)
        self._check_at: float | None = None
        """None: not begun."""

    def take(self, kind: Kind, now: float) -> Kind | None:
        shelf = self._fitting(kind)
        if shelf is not None:
            shelf.standing.popleft()
            return shelf.cell.kind
        own = self._shelves.get(kind)
        if own is not None:
            self._skip(now)
            own.cold_starts += 1
        return None

    def made(self, kind: Kind, now: float) -> None:
        shelf = self._shelves[kind]
        shelf.making = max(0, shelf.making - 1)
        reactive = shelf.cell.reactive
        shelf.standing.append(float("inf") if reactive is None else now + reactive.ttl_s)

    def lost(self, kind: Kind, now: float) -> None:
        shelf = self._shelves[kind]
        if shelf.standing:
            shelf.standing.popleft()

    def decide(self, now: float) -> Supply:
        if self._check_at is None:
            self._check_at = now + CHECK_S
            for shelf in self._shelves.values():
                shelf.fill(shelf.cell.initial)
        elif now >= self._check_at and self._may_change:
            self._check(now)
            self._check_at += self._period_s
        else:
            for shelf in self._shelves.values():
                shelf.fill(shelf.cell.backfill)
        wanted = {kind: shelf.count for kind, shelf in self._shelves.items() if shelf.count}
        return Supply(wanted, self._check_at if self._may_change else None)

    @property
    def _may_change(self) -> bool:
        return any(shelf.may_change for shelf in self._shelves.values())

    def _skip(self, now: float) -> None:
        """The checks that nobody needed, before something counts for the next one."""
        if self._check_at is not None and now > self._check_at and not self._may_change:
            self._check_at += self._period_s * ((now - self._check_at) // self._period_s + 1)

    def _check(self, now: float) -> None:
        expired: Counter[Kind] = Counter()
        for _ in range(EXPIRED_AT_ONCE):
            oldest = min((shelf for shelf in self._shelves.values() if shelf.standing), key=_expires_at, default=None)
            if oldest is None or _expires_at(oldest) > now:
                break
            oldest.standing.popleft()
            expired[oldest.cell.kind] += 1
        for kind, shelf in self._shelves.items():
            shelf.check(expired[kind], now)

    def _fitting(self, kind: Kind) -> _Shelf | None:
        """The one to take from: of the same runtime and memory, or with the least memory above it."""
        own = self._shelves.get(kind)
        if own is not None and own.standing:
            return own
        if not self._promotion:
            return None
        larger = [
            shelf
            for other, shelf in self._shelves.items()
            if shelf.standing and other.runtime == kind.runtime and other.memory_mib >= kind.memory_mib
        ]
        return min(larger, key=lambda shelf: shelf.cell.kind, default=None)


def _expires_at(shelf: _Shelf) -> float:
    return shelf.standing[0]
