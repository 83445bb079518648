"""What was measured, as rows of figures with their targets: for people, for machines, and for `--check`."""

from collections.abc import Iterator, Sequence

import msgspec


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One number. `value` None: it could not be measured; the row's notes say why."""

    name: str
    value: float | None
    unit: str = ""
    most: float | None = None
    """Target: reached when the value is at most this."""
    least: float | None = None
    """Target: reached when the value is at least this."""

    @property
    def reached(self) -> bool | None:
        """None when there is no target or no value."""
        if self.value is None or (self.most is None and self.least is None):
            return None
        return (self.most is None or self.value <= self.most) and (self.least is None or self.value >= self.least)

    @property
    def target(self) -> str:
        """As printed; empty when there is none."""
        if self.most is not None and self.most == self.least:
            return f"= {_number(self.most)}"
        if self.most is not None:
            return f"≤ {_number(self.most)}"
        return f"≥ {_number(self.least)}" if self.least is not None else ""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One promise: its figures, and what one must know to read them."""

    name: str
    title: str
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = ()

    @property
    def is_measured(self) -> bool:
        """Every figure with a target has a value, and there is one."""
        aimed = [figure for figure in self.figures if figure.target]
        return bool(aimed) and all(figure.value is not None for figure in aimed)


def missing(rows: Sequence[Row]) -> list[str]:
    """For `--check`: one sentence for each row without a number."""
    problems = []
    for row in rows:
        if row.is_measured:
            continue
        unknown = [figure.name for figure in row.figures if figure.target and figure.value is None]
        what = ", ".join(unknown) if unknown else "all figures"
        reason = f": {row.notes[-1]}" if row.notes else ""
        problems.append(f"row {row.name} has no number for {what}{reason}")
    return problems


HEADINGS = ("", "measured", "target", "reached")


def render(rows: Sequence[Row]) -> str:
    """The table for people: a title per row, a line per figure, notes below."""
    cells = {row.name: [_cells(figure) for figure in row.figures] for row in rows}
    lines = [HEADINGS, *(line for group in cells.values() for line in group)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join(_paragraphs(rows, cells, widths))


def _paragraphs(
    rows: Sequence[Row], cells: dict[str, list[tuple[str, str, str, str]]], widths: Sequence[int]
) -> Iterator[str]:
    yield _line(HEADINGS, widths)
    for row in rows:
        yield f"\n{row.title}  [{row.name}]"
        yield from (_line(line, widths) for line in cells[row.name])
        yield from (f"    {note}" for note in row.notes)


def _cells(figure: Figure) -> tuple[str, str, str, str]:
    value = "no number" if figure.value is None else f"{_number(figure.value)} {figure.unit}".rstrip()
    reached = {True: "yes", False: "NO", None: ""}[figure.reached]
    return figure.name, value, f"{figure.target} {figure.unit}".rstrip() if figure.target else "", reached


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = cells
    padded = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
    return ("  " + "   ".join(padded)).rstrip()


def _number(value: float) -> str:
    """Three significant digits, whole numbers whole, thousands apart."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
