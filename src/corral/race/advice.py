"""Which rule a function's own past speaks for: each candidate is asked over the same calls, and the cheapest one wins
when a second of waiting is worth so many GB-minutes of idle memory."""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from corral.model import ScalingValue
from corral.policy import DEFAULT_ENGINE, SCALERS
from corral.policy.corral import CorralSettings
from corral.race.alone import Alone, Outcome, Said
from corral.race.past import MINUTE_S, Past

SECOND_GIB_MIN = CorralSettings().second_gib_min
"""What a second of waiting is worth, unless said."""
SILENCES_LEAST = 10
"""Fewer say too little of one function: then only the first candidate is asked, which goes by what others did, too."""
BETTER = 0.2
"""By less than this part of what it costs now nothing is changed: the next days are not quite like the last."""
HOUR_MIN = 60


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    scaling: Mapping[str, ScalingValue]
    idle_s: float | None = None
    """None: as the function's deployment says."""
    does: str
    """What an idle instance shall do, for people."""


def candidates(second_gib_min: float) -> Sequence[Candidate]:
    """They differ in how long an instance stays and when it comes back. How many there are at once minutes do not tell:
    of rules that differ in that alone, none is advised. Of equal ones the earlier."""
    worth = {} if second_gib_min == SECOND_GIB_MIN else {"second_gib_min": second_gib_min}
    weighing = Candidate(
        scaling={"engine": DEFAULT_ENGINE, **worth},
        does="stay while it is worth the memory, come back when it is again",
    )
    return (weighing, *KEPT, *LEARNT)


def _kept(seconds: float, words: str) -> Candidate:
    return Candidate(scaling={"engine": DEFAULT_ENGINE}, idle_s=seconds, does=f"stay {words}")


KEPT = (
    _kept(5, "5 s"),
    _kept(15, "15 s"),
    _kept(60, "1 min"),
    _kept(300, "5 min"),
    _kept(600, "10 min"),
    _kept(1200, "20 min"),
    _kept(3600, "1 h"),
    _kept(14_400, "4 h"),
)
LEARNT = (
    Candidate(scaling={"engine": "hybrid", "learn_samples": 5}, does="go, and come back before the next call"),
    Candidate(
        scaling={"engine": "hybrid", "range_s": 3600},
        does="go, and come back before the next call; stay 1 h where that is not known",
    ),
)


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    calls: int
    calls_used: int
    """Of a busy function the latest are enough."""
    since: int | None
    """The minute since 1970 from which on they are; None: there are none."""
    now: Outcome
    """What would have come of the calls used, as it is scaled now."""
    advised: Candidate | None
    """None: stay."""
    then: Outcome
    """The same as `now` when nothing is advised."""
    why: str


def advise(
    pasts: Sequence[Past],
    said: Mapping[str, Said],
    second_gib_min: float = SECOND_GIB_MIN,
    among: Iterable[Candidate] | None = None,
) -> Sequence[Advice]:
    """In the order of `pasts`; `said`: name -> how the function is scaled now. `among`: None: all candidates. Takes
    some 0.1 s for each thousand calls and candidate."""
    latest = [past.newest() for past in pasts]
    now = keep(latest, said)
    # Also those of which too little is known: what a rule shares among functions is learned of them too.
    called = [past for past in latest if past.minutes]
    raced = candidates(second_gib_min) if among is None else among
    outcomes = [(each, keep(called, {name: advised(old, each) for name, old in said.items()})) for each in raced]
    return [
        _advice(past, used, now[past.name], _of(past.name, outcomes), second_gib_min)
        for past, used in zip(pasts, latest, strict=True)
    ]


def _of(name: str, outcomes: Sequence[tuple[Candidate, Mapping[str, Outcome]]]) -> Sequence[tuple[Candidate, Outcome]]:
    """Empty: it was not called."""
    return [(each, found[name]) for each, found in outcomes if name in found]


def keep(pasts: Sequence[Past], said: Mapping[str, Said]) -> Mapping[str, Outcome]:
    """Name -> what comes of it when each function is scaled as said. Calls come in the order of time over all of them:
    what functions of a host share is learned as it would have been."""
    commons: dict[str, object] = {}
    alone: dict[str, Alone] = {}
    for past in pasts:
        engine = str(said[past.name].scaling.get("engine", DEFAULT_ENGINE))
        common = SCALERS[engine].common
        if common is not None and engine not in commons:
            commons[engine] = common()
        alone[past.name] = Alone(past, said[past.name], commons.get(engine), _begin(past))
    for at, name, lasts_s in heapq.merge(*(_called(past) for past in pasts)):
        alone[name].call(at, lasts_s)
    return {past.name: alone[past.name].outcome(MINUTE_S * (past.until + 1)) for past in pasts}


def _begin(past: Past) -> float:
    """Nothing is charged before the first call."""
    return MINUTE_S * (past.minutes[0][0] if past.minutes else past.until + 1)


def _called(past: Past) -> Iterator[tuple[float, str, float]]:
    return ((at, past.name, lasts_s) for at, lasts_s in past.moments())


def advised(now: Said, candidate: Candidate) -> Said:
    """How the function is scaled when the advice is followed."""
    idle_s = now.deployed_idle_s if candidate.idle_s is None else candidate.idle_s
    return msgspec.structs.replace(now, scaling=scaling_with(now, candidate), idle_s=idle_s)


def scaling_with(now: Said, candidate: Candidate) -> Mapping[str, ScalingValue]:
    """What was said of the same engine stays, unless the candidate says otherwise."""
    engine = now.scaling.get("engine", DEFAULT_ENGINE)
    kept = now.scaling if engine == candidate.scaling["engine"] else {}
    return {**kept, **candidate.scaling}


def _advice(
    past: Past, used: Past, now: Outcome, outcomes: Sequence[tuple[Candidate, Outcome]], second_gib_min: float
) -> Advice:
    stay = Advice(
        name=past.name,
        calls=past.calls,
        calls_used=used.calls,
        since=used.minutes[0][0] if used.minutes else None,
        now=now,
        advised=None,
        then=now,
        why="not called",
    )
    if not past.calls:
        return stay
    judged = outcomes if past.silences >= SILENCES_LEAST else outcomes[:1]
    best, then = min(judged, key=lambda each: each[1].cost(second_gib_min))
    if then.cost(second_gib_min) >= (1 - BETTER) * now.cost(second_gib_min):
        return msgspec.structs.replace(stay, why=f"{_silences(past)}; nothing costs a fifth less than now")
    why = f"{best.does}: {_silences(past)}, a start takes {_seconds(past.start_s)}"
    return msgspec.structs.replace(stay, advised=best, then=then, why=why)


def _silences(past: Past) -> str:
    if past.silences < SILENCES_LEAST:
        return f"{past.silences} silences, too few to go by"
    half, nearly = (_minutes(past.quantile_min(part)) for part in (0.5, 0.99))
    return f"half of {past.silences} silences {half}, 99 % {nearly}"


def _minutes(minutes: int) -> str:
    if minutes >= 4 * HOUR_MIN:
        return "of hours"
    return "under a minute" if minutes == 0 else f"under {minutes + 1} min"


def _seconds(value: float) -> str:
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
