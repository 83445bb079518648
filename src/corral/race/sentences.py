"""What the figures mean, in sentences with numbers: the headline, and a recommendation for each kind of traffic."""

from collections.abc import Iterator

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
    yield _quickest(whole)
    yield _smallest(whole)
    yield from _balanced(whole)
    yield _standing(whole, len(outcome.contenders))
    yield from _fewest(whole)
    yield from _rest(outcome, whole)


def recommendation(outcome: Outcome, group: str) -> str:
    """Which policy suits the group, and why; two more, for those to whom only one thing counts."""
    found = verdict(outcome.contenders, group)
    figures = found.balanced.groups[group]
    said = f"{found.balanced.name}: {_paid(figures)} at {_idle(figures)}."
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


def _quickest(whole: Verdict) -> str:
    figures = whole.quickest.groups[ALL]
    tail = ""
    if figures.wait_p999_s is not None:
        slow = seconds(figures.wait_p999_s)
        tail = f", 999 of 1,000 {f'wait at most {slow}' if figures.wait_p999_s else 'do not wait at all'}"
    return (
        f"{whole.quickest.name} is best for callers: {_paid(figures)} over {figures.calls:,} calls{tail}. It holds "
        f"{_idle(figures)}."
    )


def _smallest(whole: Verdict) -> str:
    least, most = whole.smallest, whole.quickest
    if least.name == most.name:
        return f"{least.name} also holds least memory idle: it is the best on both."
    mine, theirs = least.groups[ALL], most.groups[ALL]
    return (
        f"{least.name} holds least memory idle: {gb_min(mine.idle_gb_min)}, where {most.name} holds "
        f"{times(theirs.idle_gb_min, mine.idle_gb_min)} as much. Its callers pay {times(mine.cost, theirs.cost)} as "
        f"much as those of {most.name}: {_paid(mine)}."
    )


def _balanced(whole: Verdict) -> Iterator[str]:
    if len(whole.unbeaten) > 1:
        yield f"{_named(whole.balanced, ALL)} is the balanced choice: {_reason(whole.balanced)}."


def _standing(whole: Verdict, count: int) -> str:
    names = listed([each.name for each in whole.unbeaten])
    said = f"Of {count} policies {len(whole.unbeaten)} {'is' if len(whole.unbeaten) == 1 else 'are'} unbeaten: {names}."
    if whole.beaten:
        losers: dict[str, list[str]] = {}
        for loser, winner in whole.beaten:
            losers.setdefault(winner.name, []).append(loser.name)
        by_winner = "; ".join(f"{listed(names)} by {winner}" for winner, names in losers.items())
        said += f" Beaten on both, callers and memory: {by_winner}."
    return said


def _fewest(whole: Verdict) -> Iterator[str]:
    """Only where latency is known: otherwise cold starts are what the first sentence is about."""
    figures = whole.fewest.groups[ALL]
    if figures.wait_s is None:
        return
    yield (
        f"{whole.fewest.name} has the fewest cold starts: {figures.cold:,}, or {share(figures.cold, figures.calls)} of "
        "the calls."
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
