"""The figures of a group, and the recommendations, as HTML tables."""

from collections.abc import Callable, Sequence
from html import escape

import msgspec

from corral.race.classes import MEANING
from corral.race.outcome import Contender, Figures, Outcome
from corral.race.verdict import verdict
from corral.race.words import number, percent, seconds


class Column(msgspec.Struct, frozen=True):
    heading: str
    meaning: str
    value: Callable[[Figures], float | None]
    """None: the race does not know it, and the column is left out."""
    said: Callable[[float], str]


COLUMNS = (
    Column("cold starts", "instances that were started because a call waited", lambda of: of.cold, "{:,}".format),
    Column("of calls", "cold starts in a hundred calls", lambda of: of.cold / max(1, of.calls), percent),
    Column("added latency", "from a call's arrival until its instance began, summed", lambda of: of.wait_s, seconds),
    Column("p50", "half of the calls waited at most so long", lambda of: of.wait_p50_s, seconds),
    Column("p99", "99 of 100 calls waited at most so long", lambda of: of.wait_p99_s, seconds),
    Column("p99.9", "999 of 1,000 calls waited at most so long", lambda of: of.wait_p999_s, seconds),
    Column("longest", "the longest wait", lambda of: of.wait_max_s, seconds),
    Column(
        "idle GB-min",
        "memory of instances that executed nothing, those starting and warm pools included",
        lambda of: of.idle_gb_min,
        number,
    ),
    Column("busy GB-min", "memory of instances while they executed", lambda of: of.busy_gb_min, number),
)


def meanings() -> str:
    """Of the columns, to be unfolded."""
    said = "".join(f"<dt>{each.heading}</dt><dd>{escape(each.meaning)}</dd>" for each in COLUMNS)
    return f"<details><summary>What the columns mean</summary><dl>{said}</dl></details>"


def table(contenders: Sequence[Contender], group: str, caption: str) -> str:
    columns = [each for each in COLUMNS if each.value(contenders[0].groups[group]) is not None]
    won = {each.name for each in verdict(contenders, group).unbeaten}
    heads = "".join(f'<th scope="col" title="{escape(each.meaning)}">{each.heading}</th>' for each in columns)
    rows = "".join(_row(each.name, each.groups[group], columns, each.name in won) for each in contenders)
    return (
        f'<div class=wide role="region" tabindex="0" aria-label="{escape(caption)}"><table><caption>{escape(caption)}'
        f'</caption><thead><tr><th scope="col">policy</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _row(name: str, figures: Figures, columns: Sequence[Column], has_won: bool) -> str:
    values = ((each, each.value(figures)) for each in columns)
    cells = "".join(f"<td>{'–' if value is None else each.said(value)}</td>" for each, value in values)
    mark = ' <span class=won title="unbeaten">■<span class=spoken> unbeaten</span></span>' if has_won else ""
    return f'<tr><th scope="row">{_label(name)}{mark}</th>{cells}</tr>'


def _label(name: str) -> str:
    """May break between a policy's settings."""
    return escape(name).replace(":", ":<wbr>").replace(",", ",<wbr>")


def glance(outcome: Outcome) -> str:
    """Which policy suits which kind of traffic, in a line for each."""
    heads = ("kind of traffic", "functions", "calls", "recommended", "if only callers count", "if only memory counts")
    columns = "".join(f'<th scope="col">{head}</th>' for head in heads)
    rows = (_kind(outcome, name) for name in MEANING if name in outcome.course.groups)
    return (
        '<div class=wide role="region" tabindex="0" aria-label="Recommendations"><table class=words>'
        f"<caption>Recommendations</caption><thead><tr>{columns}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _kind(outcome: Outcome, name: str) -> str:
    found, group = verdict(outcome.contenders, name), outcome.course.groups[name]
    chosen = (found.balanced.name, found.quickest.name, found.smallest.name)
    cells = (f"{group.functions:,}", f"{group.calls:,}", *map(_label, chosen))
    return f'<tr><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
