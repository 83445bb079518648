"""The picture of instances over time: one small panel for each policy, all at the same scale."""

import math
from collections.abc import Iterator, Sequence

from corral.race import svg
from corral.race.outcome import Contender, Course
from corral.race.svg import Picture
from corral.race.words import number

WIDTH, COLUMNS = 760, 3
PANEL_HEIGHT, GAP = 104, 18
LEFT, TITLE = 40.0, 20.0
POINTS_MAX = 120
"""In one panel; of a longer trace each is the mean of several minutes."""


def timeline(contenders: Sequence[Contender], course: Course, name: str, title: str) -> Picture:
    """Of contenders whose instances are known; at least one."""
    top = _round_up(max(max(_means(each.instances)) for each in contenders))
    wide = (WIDTH - LEFT - GAP * (COLUMNS - 1)) / COLUMNS
    rows = -(-len(contenders) // COLUMNS)
    parts: list[str] = []
    for place, each in enumerate(contenders):
        row, column = divmod(place, COLUMNS)
        x, y = LEFT + column * (wide + GAP), row * (PANEL_HEIGHT + TITLE + GAP)
        parts.extend(_panel(each, x, y + TITLE, wide, top, column == 0))
        if row == rows - 1 or place + COLUMNS >= len(contenders):
            parts.extend(_minutes(course, x, y + TITLE + PANEL_HEIGHT, wide))
    height = int(rows * (PANEL_HEIGHT + TITLE + GAP) + GAP)
    return Picture(name, title, _description(contenders), WIDTH, height, "".join(parts))


def _panel(each: Contender, x: float, y: float, wide: float, top: float, is_first: bool) -> Iterator[str]:
    means = _means(each.instances)
    step = wide / len(means)
    base = y + PANEL_HEIGHT
    corners = [(x, base)]
    for place, mean in enumerate(means):
        level = base - mean / top * PANEL_HEIGHT
        corners += [(x + place * step, level), (x + (place + 1) * step, level)]
    corners.append((x + wide, base))
    for part in (0.0, 0.5, 1.0):
        yield svg.line(x, base - part * PANEL_HEIGHT, x + wide, base - part * PANEL_HEIGHT, "grid")
        if is_first:
            yield svg.text(x - 5, base - part * PANEL_HEIGHT + 4, number(part * top), "soft", "end")
    yield svg.path(corners, "area")
    yield svg.text(x, y - 6, each.name, "bold", most=wide)


def _minutes(course: Course, x: float, base: float, wide: float) -> Iterator[str]:
    yield svg.text(x, base + 15, f"minute {course.first_minute}", "soft")
    yield svg.text(x + wide, base + 15, str(course.first_minute + course.minutes), "soft", "end")


def _means(instances: Sequence[float]) -> list[float]:
    """At most POINTS_MAX, each of as many minutes; of the last perhaps fewer."""
    each = -(-len(instances) // POINTS_MAX)
    slices = [instances[begin : begin + each] for begin in range(0, len(instances), each)]
    return [sum(part) / len(part) for part in slices]


def _round_up(value: float) -> float:
    """To the next 1, 2 or 5 of a decade, so that the marks are round; at least 1."""
    decade = 10.0 ** math.floor(math.log10(max(1.0, value)))
    return next(step * decade for step in (1, 2, 5, 10) if step * decade >= value)


def _description(contenders: Sequence[Contender]) -> str:
    return (
        "; ".join(
            f"{each.name}: {number(sum(each.instances) / len(each.instances))} instances on average, "
            f"{number(max(each.instances))} in the busiest minute"
            for each in contenders
        )
        + "."
    )
