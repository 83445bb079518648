"""Where a function's calls go, as arithmetic: shares in percent and tags, by a revision's number. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from fractions import Fraction
from math import ceil

from corral.errors import Invalid
from corral.model import REVISIONS_KEPT, Share, check_name

Traffic = Sequence[Share]
TAGS_MAX = 100
"""Of a function: gateways hold an entry for each, and every change writes all of them."""


def percents(traffic: Traffic) -> dict[int, int]:
    """Revision -> its share, of those that have one."""
    return {share.number: share.percent for share in traffic if share.percent}


def tags(traffic: Traffic) -> dict[str, int]:
    """Tag -> revision."""
    return {share.tag: share.number for share in traffic if share.tag is not None}


def live(traffic: Traffic) -> set[int]:
    """Revisions that calls may go to, by share or tag."""
    return {share.number for share in traffic}


def foremost(traffic: Traffic) -> int:
    """The revision with the largest share, of equal ones the newest."""
    return max((percent, number) for number, percent in percents(traffic).items())[1]


def arranged(shares: Mapping[int, int], names: Mapping[str, int]) -> Traffic:
    """By number. Of a revision with several tags the first entry has the share."""
    tags_of: dict[int, list[str]] = {number: [] for number, percent in shares.items() if percent}
    for tag, number in sorted(names.items()):
        tags_of.setdefault(number, []).append(tag)
    return tuple(
        Share(number=number, percent=0 if place else shares.get(number, 0), tag=tag)
        for number in sorted(tags_of)
        for place, tag in enumerate(tags_of[number] or [None])
    )


def deployed(traffic: Traffic, number: int, tag: str | None, takes_calls: bool) -> Traffic:
    """After a deployment: it takes over the share of the newest revision that has one, so that a split stays as it
    was said, and what was tried with few calls is tried again with as few."""
    shares, names = percents(traffic), tags(traffic)
    if takes_calls:
        shares[number] = shares.pop(max(shares)) if shares else 100
    if tag is not None:
        names[tag] = number
    return arranged(shares, names)


def rolled_back(traffic: Traffic, number: int) -> Traffic:
    """All calls to this one; tags stay."""
    return arranged({number: 100}, tags(traffic))


def proven(before: Sequence[int], traffic: Traffic) -> Sequence[int]:
    """Revisions that have had all calls, in the order they got them: what a function is rolled back along. `before` is
    how it was. Going back forgets what is left by it, or the next way back would lead there."""
    (number, percent), *_ = percents(traffic).items()
    if percent < 100:
        return before
    kept = before[: before.index(number)] if number in before else before
    return (*kept, number)


def previous(traffic: Traffic, proven: Sequence[int]) -> int | None:
    """To which a function is rolled back: the last revision that had all calls, before that which has them now. What
    was only tried with a part of them is no safe ground. None: there is none."""
    others = [number for number in proven if percents(traffic) != {number: 100}]
    return others[-1] if others else None


def changed(traffic: Traffic, shares: Mapping[int, int] | None, names: Mapping[str, int | None]) -> Traffic:
    """`shares` None: as they are. A tag given to None is taken away; those not named stay."""
    after = {**tags(traffic), **names}
    kept = {tag: number for tag, number in after.items() if number is not None}
    return arranged(percents(traffic) if shares is None else shares, kept)


def problems(
    shares: Mapping[int, int] | None, names: Mapping[str, int | None], stored: Collection[int], traffic: Traffic
) -> Iterator[str]:
    """A sentence for each mistake in what `changed` is asked for; `stored` are the revisions there are."""
    kept = ", ".join(map(str, sorted(stored)))
    if shares is not None:
        if sum(shares.values()) != 100:
            said = " + ".join(map(str, shares.values())) or "nothing"
            yield f"shares add up to {sum(shares.values())} ({said}), must add up to 100"
        for number, percent in shares.items():
            if not 0 <= percent <= 100:
                yield f"share of revision {number} = {percent}, must be between 0 and 100"
            if number not in stored:
                yield f"share of revision {number}: no such revision is kept, must be one of {kept}"
    if many := list(too_many(traffic, names)):
        yield from many
        return
    for tag, wanted in names.items():
        if wanted is None:
            if tag not in tags(traffic):
                yield f"tag {tag[:80]!r} is not there, so it cannot be taken away"
            continue
        yield from tag_problems(tag)
        if wanted not in stored:
            yield f"tag {tag[:80]!r} = {wanted}: no such revision is kept, must be one of {kept}"


def too_many(traffic: Traffic, names: Mapping[str, int | None]) -> Iterator[str]:
    """A sentence when the function would have more tags than it may; `names` as in `changed`."""
    after = {**tags(traffic), **names}
    count = sum(number is not None for number in after.values())
    if count > TAGS_MAX:
        yield f"{count} tags, must be at most {TAGS_MAX} of a function"


def tag_problems(tag: str) -> Iterator[str]:
    if tag.isdigit():
        yield f"tag = {tag[:80]!r}, must not be a number: revisions have numbers"
        return
    try:
        check_name("tag", tag)
    except Invalid as fault:
        yield from fault.problems


def needed(before: Mapping[int, int], after: Mapping[int, int], instances: Mapping[int, int]) -> dict[int, int]:
    """Instances that each revision which gets more calls must have for them before they come. `before` and `after`
    are shares, `instances` is what there is of those of `before`. The part of a revision's instances that worked for
    the share it loses is needed where the share goes: all of them in a whole change, a tenth for a tenth."""
    freed = sum(
        (Fraction(instances[number] * (share - after.get(number, 0)), share)
         for number, share in before.items() if after.get(number, 0) < share),
        Fraction(0),
    )  # fmt: skip
    gained = {number: share - before.get(number, 0) for number, share in after.items() if share > before.get(number, 0)}
    total = sum(gained.values())
    return {
        number: (instances[number] if number in before else 0) + ceil(freed * gain / total)
        for number, gain in gained.items()
    }


def collected(numbers: Collection[int], traffic: Traffic, proven: Sequence[int]) -> set[int]:
    """Those of a function's revisions that are kept no longer: not among the newest, without calls, and not the one it
    would be rolled back to, which may be old when the last change was a deployment after a rollback."""
    newest = sorted(numbers)[-REVISIONS_KEPT:]
    return set(numbers) - set(newest) - live(traffic) - {previous(traffic, proven)}
