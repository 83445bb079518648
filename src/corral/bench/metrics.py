"""Reading a page of Prometheus metrics: just enough of the text format for sums of counters and gauges."""

import re
from collections.abc import Iterator

SAMPLE = re.compile(r"(?P<name>[A-Za-z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def samples(page: str, name: str) -> Iterator[tuple[dict[str, str], float]]:
    """Labels and value of each sample called exactly `name`."""
    for line in page.splitlines():
        found = SAMPLE.match(line)
        if found and found["name"] == name:
            yield dict(LABEL.findall(found["labels"] or "")), float(found["value"])


def total(page: str, name: str, **labels: str) -> float | None:
    """Sum of the samples that carry `labels`. None when the page does not know the name at all: a counter that does not
    exist must not be taken for one that did not rise. One that is declared and has no samples yet stands at 0."""
    if f"# TYPE {name} " not in page:
        return None
    return sum(value for has, value in samples(page, name) if labels.items() <= has.items())


def means(page: str, name: str, label: str) -> dict[str, float]:
    """Value of `label` -> mean of what the histogram `name` saw; those that saw nothing are left out."""
    sums = {labels[label]: value for labels, value in samples(page, f"{name}_sum")}
    counts = {labels[label]: value for labels, value in samples(page, f"{name}_count")}
    return {key: sums[key] / count for key, count in counts.items() if count}
