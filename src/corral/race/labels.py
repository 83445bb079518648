"""Names beside points, so that no name covers another name or point."""

import itertools
import math
from collections.abc import Iterator, Sequence

import msgspec

from corral.race.svg import LINE_PX, width_of

REACHES = (11.0, 24.0, 40.0, 60.0, 84.0, 110.0)
"""Pixels from a point to its name: the nearest that is free."""
DIRECTIONS = tuple(math.radians(degrees) for degrees in (0, 180, -45, 45, -135, 135, -90, 90, -20, 20, 160, -160))
MARK_PX = 8.0


class Box(msgspec.Struct, frozen=True):
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "Box") -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def within(self, other: "Box") -> bool:
        return (
            other.left <= self.left
            and self.right <= other.right
            and other.top <= self.top
            and self.bottom <= other.bottom
        )


class Label(msgspec.Struct, frozen=True):
    name: str
    anchor: str
    """Whether the name has its start, middle or end at x."""
    x: float
    y: float
    """Its base line."""
    lead: tuple[float, float] | None
    """Where a line from the point ends; None: the name stands beside it."""


def placed(points: Sequence[tuple[str, float, float]], room: Box, stairs: Sequence[tuple[float, float]]) -> list[Label]:
    """One label for each (name, x, y), in their order, clear of each other and of the line `stairs` if there is room;
    where nothing is free it stands right of its point."""
    taken = [Box(x - MARK_PX, y - MARK_PX, x + MARK_PX, y + MARK_PX) for _, x, y in points]
    taken += [
        Box(min(x1, x2) - 1, min(y1, y2) - 1, max(x1, x2) + 1, max(y1, y2) + 1)
        for (x1, y1), (x2, y2) in itertools.pairwise(stairs)
    ]
    labels = []
    for name, x, y in points:
        label, box = _free(name, x, y, room, taken)
        taken.append(box)
        labels.append(label)
    return labels


def _free(name: str, x: float, y: float, room: Box, taken: Sequence[Box]) -> tuple[Label, Box]:
    tried = list(_places(name, x, y))
    for label, box in tried:
        if box.within(room) and not any(box.meets(other) for other in taken):
            return label, box
    return next(((label, box) for label, box in tried if box.within(room)), tried[0])


def _places(name: str, x: float, y: float) -> Iterator[tuple[Label, Box]]:
    wide = width_of(name)
    for reach in REACHES:
        for angle in DIRECTIONS:
            end_x, end_y = x + reach * math.cos(angle), y + reach * math.sin(angle)
            anchor, left = _anchored(math.cos(angle), end_x, wide)
            box = Box(left, end_y - LINE_PX / 2, left + wide, end_y + LINE_PX / 2)
            yield Label(name, anchor, end_x, end_y + 4, (end_x, end_y) if reach > REACHES[0] else None), box


def _anchored(direction: float, x: float, wide: float) -> tuple[str, float]:
    """How a name stands at x, and where it begins, seen from a point that lies against `direction`."""
    if direction > 0.1:
        return "start", x
    return ("end", x - wide) if direction < -0.1 else ("middle", x - wide / 2)
