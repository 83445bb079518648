"""The picture of what callers pay against idle memory: who is beaten on both lies above and right of another."""

import itertools
import re
from collections.abc import Iterator, Sequence

from corral.race import labels, svg
from corral.race.labels import Box
from corral.race.outcome import Contender, Figures
from corral.race.svg import Axis, Picture
from corral.race.verdict import Verdict
from corral.race.words import number, seconds

WIDTH, HEIGHT = 760, 440
FAMILY = re.compile("[-:]")
"""What follows in a policy's name are settings."""
LEFT, RIGHT, TOP, BOTTOM = 88.0, 744.0, 16.0, 388.0


def pareto(contenders: Sequence[Contender], verdict: Verdict, name: str, title: str) -> Picture:
    """Of one group, both axes logarithmic. `name` begins the ids."""
    group = verdict.group
    figures = [each.groups[group] for each in contenders]
    across = svg.axis([each.idle_gb_min for each in figures], LEFT + 12, RIGHT - 12)
    up = svg.axis([each.cost for each in figures], BOTTOM - 12, TOP + 12)
    won = {each.name for each in verdict.unbeaten}
    points = [
        (each.name, across.at(one.idle_gb_min), up.at(one.cost)) for each, one in zip(contenders, figures, strict=True)
    ]
    stairs = _stairs(verdict, across, up)
    parts = [*_frame(across, up, figures), *_families(points), svg.path(stairs, "front")]
    room = Box(LEFT, TOP, RIGHT, BOTTOM)
    for label, (_, x, y) in zip(labels.placed(points, room, stairs), points, strict=True):
        if label.lead is not None:
            parts.append(svg.line(x, y, *label.lead, "lead"))
        parts.append(_mark(x, y, label.name in won))
        parts.append(svg.text(label.x, label.y, label.name, "bold" if label.name in won else "", label.anchor))
    return Picture(name, title, _description(contenders, verdict), WIDTH, HEIGHT, "".join(parts))


def _mark(x: float, y: float, has_won: bool) -> str:
    """A filled square for who is unbeaten, a ring for the others: told apart without colours."""
    if has_won:
        return f'<rect class="mark won" x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10"/>'
    return f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'


def _frame(across: Axis, up: Axis, figures: Sequence[Figures]) -> Iterator[str]:
    has_waits = figures[0].wait_s is not None
    for tick in across.ticks():
        x = across.at(tick)
        yield svg.line(x, TOP, x, BOTTOM, "grid") + svg.text(x, BOTTOM + 17, number(tick), "soft", "middle")
    for tick in up.ticks():
        y = up.at(tick)
        said = seconds(tick) if has_waits else number(tick)
        yield svg.line(LEFT, y, RIGHT, y, "grid") + svg.text(LEFT - 6, y + 4, said, "soft", "end")
    if any(each.idle_gb_min <= 0 for each in figures):
        yield svg.text(across.zero, BOTTOM + 17, "0", "soft", "middle")
    if any(each.cost <= 0 for each in figures):
        yield svg.text(LEFT - 6, up.zero + 4, "0", "soft", "end")
    yield svg.line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis") + svg.line(LEFT, TOP, LEFT, BOTTOM, "axis")
    yield svg.text((LEFT + RIGHT) / 2, HEIGHT - 12, "idle memory, GB-minutes (less is better: left)", "", "middle")
    what = "added latency of all calls together" if has_waits else "cold starts"
    yield (
        f'<g transform="translate(14 {(TOP + BOTTOM) / 2:.0f}) rotate(-90)">'
        + svg.text(0, 0, f"{what} (less is better: down)", "", "middle")
        + "</g>"
    )


def _families(points: Sequence[tuple[str, float, float]]) -> Iterator[str]:
    """A line through the points of one rule under several settings: `fixed-2m` and `fixed-10m`."""
    families: dict[str, list[tuple[float, float]]] = {}
    for name, x, y in points:
        families.setdefault(FAMILY.split(name)[0], []).append((x, y))
    for places in families.values():
        if len(places) > 1:
            yield svg.path(sorted(places), "family")


def _stairs(verdict: Verdict, across: Axis, up: Axis) -> Sequence[tuple[float, float]]:
    """The corners of the line along the unbeaten: above and right of it everyone is beaten."""
    ends = [
        (across.at(f.idle_gb_min), up.at(f.cost)) for f in (each.groups[verdict.group] for each in verdict.unbeaten)
    ]
    # In order of what callers pay: from the bottom right to the top left.
    corners: list[tuple[float, float]] = [(RIGHT, ends[0][1]), ends[0]]
    for (x, _), end in itertools.pairwise(ends):
        corners += [(x, end[1]), end]
    return [*corners, (ends[-1][0], TOP)]


def _description(contenders: Sequence[Contender], verdict: Verdict) -> str:
    won = {each.name for each in verdict.unbeaten}
    return "; ".join(_point(each.name, each.groups[verdict.group], each.name in won) for each in contenders) + "."


def _point(name: str, figures: Figures, has_won: bool) -> str:
    paid = f"{figures.cold} cold starts" if figures.wait_s is None else f"{seconds(figures.wait_s)} of added latency"
    return f"{name}: {paid} at {number(figures.idle_gb_min)} GB-minutes idle" + (" (unbeaten)" if has_won else "")
