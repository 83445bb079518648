"""Pictures drawn by hand: axes, marks and labels as SVG text. No outside font, script or style."""

import math
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files

import msgspec

GLYPH_PX = 6.8
"""Mean width of a letter at the size labels have, in any sans-serif."""
BOLD = 1.2
"""How much wider bold letters are."""
LINE_PX = 14.0
STEPS: Sequence[tuple[float, Sequence[float]]] = (
    (0.8, (1, 1.5, 2, 3, 4, 5, 7)),
    (3, (1, 2, 5)),
    (5, (1, 3)),
    (math.inf, (1,)),
)
"""(decades that an axis covers at most, which numbers of each are marked)."""


def style() -> str:
    """Of all pictures; light, dark and printed."""
    return files("corral.race").joinpath("plot.css").read_text(encoding="utf-8")


class Picture(msgspec.Struct, frozen=True):
    """One drawing with its text alternative."""

    name: str
    """Begins its ids: unique in a page."""
    title: str
    description: str
    width: int
    height: int
    body: str

    def inline(self) -> str:
        """For a page that holds style()."""
        return self._svg("")

    def file(self) -> str:
        """By itself."""
        return self._svg(f"<style>{style()}</style>") + "\n"

    def _svg(self, head: str) -> str:
        ids = f"{self.name}-title {self.name}-text"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" role="img" aria-labelledby="{ids}" '
            f'viewBox="0 0 {self.width} {self.height}" width="{self.width}" height="{self.height}">{head}'
            f'<title id="{self.name}-title">{escape(self.title)}</title>'
            f'<desc id="{self.name}-text">{escape(self.description)}</desc>'
            f'<rect class="paper" width="{self.width}" height="{self.height}"/>{self.body}</svg>'
        )


class Axis(msgspec.Struct, frozen=True):
    """Logarithmic: values from `low` on lie between the pixels `start` and `end`. Zero lies at `zero`, before the
    start, as no logarithm has room for it."""

    low: float
    high: float
    start: float
    end: float
    zero: float

    def at(self, value: float) -> float:
        if value <= 0:
            return self.zero
        part = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + part * (self.end - self.start)

    def ticks(self) -> Iterator[float]:
        """Round numbers of each decade, as many as do not stand too close."""
        decades = math.log10(self.high / self.low)
        steps = next(steps for most, steps in STEPS if decades <= most)
        for decade in range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1):
            for step in steps:
                tick = step * 10.0**decade
                if self.low * 0.999 <= tick <= self.high * 1.001:
                    yield tick


def axis(values: Sequence[float], start: float, end: float) -> Axis:
    """Room for all values, at least a factor of four wide, with a tenth of it free at both ends. With a zero among
    them a piece of 24 pixels before the start is kept for it."""
    known = [value for value in values if value > 0] or [1.0]
    low, high = min(known), max(known)
    widen = max(0.0, math.log(4) - math.log(high / low)) / 2 + 0.1 * max(math.log(4), math.log(high / low))
    begin = start + math.copysign(24, end - start) if min(values) <= 0 else start
    return Axis(low * math.exp(-widen), high * math.exp(widen), begin, end, start)


def text(x: float, y: float, said: str, kind: str = "", anchor: str = "start", most: float = math.inf) -> str:
    """`most`: pixels it may be wide; what is wider is squeezed into them, as a name that is cut off names another."""
    named = f' class="{kind}"' if kind else ""
    squeezed = f' textLength="{most:.1f}" lengthAdjust="spacingAndGlyphs"' if width_of(said) > most else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}{squeezed}>{escape(said)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def path(points: Sequence[tuple[float, float]], kind: str) -> str:
    return f'<path class="{kind}" d="M{" L".join(f"{x:.1f} {y:.1f}" for x, y in points)}"/>'


def width_of(said: str) -> float:
    """Of a label, in pixels, about, and not less: any may be bold."""
    return BOLD * GLYPH_PX * len(said)
