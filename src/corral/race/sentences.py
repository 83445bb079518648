"""What the figures mean, in sentences with numbers: the headline, and a recommendation for each kind of traffic."""

from collections.abc import Callable, Iterator, Sequence
from math import isclose

from corral.race.outcome import ALL, REST, Contender, Figures, Outcome
from corral.race.verdict import UNNOTICED_S, Verdict, verdict
from corral.race.words import gb_min, listed, number, seconds, share, times

HALVED = "under no other policy is one of the two halved without the other at least doubled"
"""What the least product of latency and memory means."""
UNNOTICED = f"less than {seconds(UNNOTICED_S)} a call counts as {seconds(UNNOTICED_S)}"


def headline(outcome: Outcome) -> Iterator[str]:
    """Who wins on what."""
    whole = verdict(outcome.contenders, ALL)
    if len(outcome.contenders) == 1:
        only = whole.quickest
        yield f"{only.name}, raced alone: {_paid(only.groups[ALL])} at {_idle(only.groups[ALL])}."
        return
    yield _quickest(whole, outcome.contenders)
    yield _smallest(whole, outcome.contenders)
    yield from _balanced(whole, outcome.contenders)
    yield _standing(whole, len(outcome.contenders))
    yield from _fewest(whole, outcome.contenders)
    yield from _rest(outcome, whole)


def recommendation(outcome: Outcome, group: str) -> str:
    """Which policy suits the group, and why; two more, for those to whom only one thing counts."""
    found = verdict(outcome.contenders, group)
    figures = found.balanced.groups[group]
    level = _level(found.balanced, outcome.contenders, group, _cost, _idle_gb_min)
    said = f"{found.balanced.name}{level}: {_paid(figures)} at {_idle(figures)}."
    if len(found.unbeaten) == 1:
        return f"{said} It is the best on both, so there is nothing to weigh."
    said += f" {_reason(found.balanced).capitalize()}."
    if found.quickest.name != found.balanced.name:
        said += f" If only callers count: {_named(found.quickest, group)}."
    if found.smallest.name != found.balanced.name:
        said += f" If only memory counts: {_named(found.smallest, group)}."
    return said


def _reason(balanced: Contender) -> str:
    return HALVED if balanced.groups[ALL].wait_s is None else f"{HALVED} ({UNNOTICED})"


def _named(each: Contender, group: str) -> str:
    figures = each.groups[group]
    return f"{each.name} ({_paid(figures)} at {_idle(figures)})"


def _level(best: Contender, contenders: Sequence[Contender], group: str, *axes: Callable[[Figures], float]) -> str:
    """Who is as good: otherwise the order in which policies were named would decide."""

    def is_as_good(each: Contender) -> bool:
        return all(isclose(of(each.groups[group]), of(best.groups[group])) for of in axes)

    equal = [each.name for each in contenders if each is not best and is_as_good(each)]
    return f", level with {listed(equal)}" if equal else ""


def _cost(figures: Figures) -> float:
    return figures.cost


def _idle_gb_min(figures: Figures) -> float:
    return figures.idle_gb_min


def _quickest(whole: Verdict, contenders: Sequence[Contender]) -> str:
    figures = whole.quickest.groups[ALL]
    level = _level(whole.quickest, contenders, ALL, _cost)
    tail = ""
    if figures.wait_p999_s is not None:
        slow = seconds(figures.wait_p999_s)
        tail = f", 999 of 1,000 {f'wait at most {slow}' if figures.wait_p999_s else 'do not wait at all'}"
    return (
        f"{whole.quickest.name} is best for callers{level}: {_paid(figures)} over {figures.calls:,} calls{tail}. It "
        f"holds {_idle(figures)}."
    )


def _smallest(whole: Verdict, contenders: Sequence[Contender]) -> str:
    least, most = whole.smallest, whole.quickest
    level = _level(least, contenders, ALL, _idle_gb_min)
    if least.name == most.name:
        return f"{least.name} also holds least memory idle{level}: nobody is better on either."
    mine, theirs = least.groups[ALL], most.groups[ALL]
    return (
        f"{least.name} holds least memory idle{level}: {gb_min(mine.idle_gb_min)}, where {most.name} holds "
        f"{times(theirs.idle_gb_min, mine.idle_gb_min)} as much. Its callers pay {times(mine.cost, theirs.cost)} as "
        f"much as those of {most.name}: {_paid(mine)}."
    )


def _balanced(whole: Verdict, contenders: Sequence[Contender]) -> Iterator[str]:
    if len(whole.unbeaten) > 1:
        level = _level(whole.balanced, contenders, ALL, _cost, _idle_gb_min)
        yield f"{_named(whole.balanced, ALL)} is the balanced choice{level}: {_reason(whole.balanced)}."


def _standing(whole: Verdict, count: int) -> str:
    names = listed([each.name for each in whole.unbeaten])
    said = f"Of {count} policies {len(whole.unbeaten)} {'is' if len(whole.unbeaten) == 1 else 'are'} unbeaten: {names}."
    if whole.beaten:
        losers: dict[str, list[str]] = {}
        for loser, winner in whole.beaten:
            losers.setdefault(winner.name, []).append(loser.name)
        by_winner = "; ".join(f"{listed(names)} by {winner}" for winner, names in losers.items())
        said += f" Beaten, no better on either and worse on one or both: {by_winner}."
    return said


def _fewest(whole: Verdict, contenders: Sequence[Contender]) -> Iterator[str]:
    """Only where latency is known: otherwise cold starts are what the first sentence is about."""
    figures = whole.fewest.groups[ALL]
    if figures.wait_s is None:
        return
    level = _level(whole.fewest, contenders, ALL, lambda of: of.cold)
    yield (
        f"{whole.fewest.name} has the fewest cold starts{level}: {figures.cold:,}, or "
        f"{share(figures.cold, figures.calls)} of the calls."
    )


def _rest(outcome: Outcome, whole: Verdict) -> Iterator[str]:
    course = outcome.course
    if course.dominating is None:
        return
    rest = verdict(outcome.contenders, REST)
    part = share(course.groups[ALL].calls - course.groups[REST].calls, course.groups[ALL].calls)
    said = f"One function makes {part} of all calls. Without it "
    same = [each.name for each in whole.unbeaten] == [each.name for each in rest.unbeaten]
    if same and whole.quickest.name == rest.quickest.name:
        yield f"{said}the same policies are unbeaten, and {rest.quickest.name} is best for callers again."
    else:
        names = listed([each.name for each in rest.unbeaten])
        yield f"{said}{rest.quickest.name} is best for callers, {rest.smallest.name} in memory; unbeaten: {names}."


def _paid(figures: Figures) -> str:
    if figures.wait_s is None:
        return f"{figures.cold:,} cold starts"
    return f"{seconds(figures.wait_s)} of added latency in all"


def _idle(figures: Figures) -> str:
    return f"{number(figures.idle_gb_min)} GB-min of idle memory"
