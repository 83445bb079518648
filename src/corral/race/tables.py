"""The figures of a group as an HTML table."""

from collections.abc import Sequence
from html import escape

from corral.race.outcome import Contender, Figures
from corral.race.verdict import verdict
from corral.race.words import number, seconds, share

Column = tuple[str, str]
"""(heading, what it means)."""
COLUMNS: Sequence[Column] = (
    ("cold starts", "instances that were started because a call waited"),
    ("of calls", "cold starts in a hundred calls"),
    ("added latency", "from a call's arrival until an instance began with it, the sum over all calls"),
    ("p50", "half of the calls waited at most so long"),
    ("p99", "99 of 100 calls waited at most so long"),
    ("p99.9", "999 of 1,000 calls waited at most so long"),
    ("longest", "the longest wait"),
    ("idle GB-min", "memory of instances that executed nothing, those starting and warm pools included"),
    ("busy GB-min", "memory of instances while they executed"),
)


def meanings() -> str:
    """Of the columns, to be unfolded."""
    said = "".join(f"<dt>{name}</dt><dd>{escape(meaning)}</dd>" for name, meaning in COLUMNS)
    return f"<details><summary>What the columns mean</summary><dl>{said}</dl></details>"


def table(contenders: Sequence[Contender], group: str, caption: str) -> str:
    won = {each.name for each in verdict(contenders, group).unbeaten}
    heads = "".join(f'<th scope="col" title="{escape(meaning)}">{name}</th>' for name, meaning in COLUMNS)
    rows = "".join(_row(each.name, each.groups[group], each.name in won) for each in contenders)
    return (
        f'<div class=wide role="region" tabindex="0" aria-label="{escape(caption)}"><table><caption>{escape(caption)}'
        f'</caption><thead><tr><th scope="col">policy</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _row(name: str, figures: Figures, has_won: bool) -> str:
    cells = (
        f"{figures.cold:,}",
        share(figures.cold, figures.calls),
        seconds(figures.wait_s),
        seconds(figures.wait_p50_s),
        seconds(figures.wait_p99_s),
        seconds(figures.wait_p999_s),
        seconds(figures.wait_max_s),
        number(figures.idle_gb_min),
        "–" if figures.busy_gb_min is None else number(figures.busy_gb_min),
    )
    mark = ' <span class=won title="unbeaten">■<span class=spoken> unbeaten</span></span>' if has_won else ""
    return f'<tr><th scope="row">{escape(name)}{mark}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
