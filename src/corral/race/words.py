"""Numbers as a person reads them."""


def seconds(value: float | None) -> str:
    """`0.0042` -> `4.2 ms`, `90` -> `90 s`, `12345` -> `12,345 s`; None -> a dash."""
    if value is None:
        return "–"
    if value >= 1 or value == 0:
        return f"{number(value)} s"
    if value >= 0.001:
        return f"{number(value * 1000)} ms"
    return f"{number(value * 1_000_000)} µs"


def number(value: float) -> str:
    """Three significant digits, all of those before the point, thousands apart."""
    if value == 0 or abs(value) >= 99.95:
        return f"{value:,.0f}"
    places = 2 if abs(value) < 9.995 else 1
    if abs(value) < 0.9995:
        return f"{value:.2g}" if abs(value) >= 0.0001 else f"{value:.0e}"
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".")


def gb_min(value: float | None) -> str:
    return "–" if value is None else f"{number(value)} GB-min"


def percent(part: float) -> str:
    """`0.0123` -> `1.23 %`."""
    return f"{number(100 * part)} %"


def share(part: float, whole: float) -> str:
    """In percent; of nothing: 0 %."""
    return percent(part / whole if whole else 0.0)


def times(larger: float, smaller: float) -> str:
    """`2.4 times`; of zero: `any number of times`."""
    return f"{number(larger / smaller)} times" if smaller else "any number of times"


def listed(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
