"""The text Prometheus reads, checked by its own parser."""

import asyncio
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from corral.gateway.stats import Stats
from corral.model import FunctionKey
from corral.observe import metrics


def families(*given: metrics.Family) -> dict[str, object]:  # type: ignore[type-arg]
    return {family.name: family for family in text_string_to_metric_families(metrics.text(given))}


def test_counter_and_gauge_are_read_back() -> None:
    counter = metrics.counters("calls_total", "Calls.", "function")
    counter.labels("a").value += 2
    gauge = metrics.gauges("waiting", "Waiting.")
    gauge.labels().source = lambda: 1.5
    found = families(counter, gauge)
    assert [(s.labels, s.value) for s in found["calls"].samples] == [({"function": "a"}, 2.0)]  # type: ignore[attr-defined]
    assert [s.value for s in found["waiting"].samples] == [1.5]  # type: ignore[attr-defined]


def test_histogram_counts_up_to_and_with_its_bounds() -> None:
    histogram = metrics.histograms("d", "Duration.", (0.1, 1.0), "f")
    for value in (0.05, 0.1, 0.5, 1.0, 3.0):
        histogram.labels("x").observe(value)
    samples = {(s.name, s.labels.get("le")): s.value for s in families(histogram)["d"].samples}  # type: ignore[attr-defined]
    assert samples == {
        ("d_bucket", "0.1"): 2, ("d_bucket", "1"): 4, ("d_bucket", "+Inf"): 5,
        ("d_sum", None): pytest.approx(4.65), ("d_count", None): 5,
    }  # fmt: skip


def test_label_values_are_escaped() -> None:
    counter = metrics.counters("c_total", "C.", "v")
    counter.labels('a"b\\c\nd').value += 1
    (sample,) = families(counter)["c"].samples  # type: ignore[attr-defined]
    assert sample.labels == {"v": 'a"b\\c\nd'}


def test_forgotten_child_is_no_longer_shown() -> None:
    counter = metrics.counters("c_total", "C.", "namespace", "function")
    counter.labels("n", "a").value += 1
    counter.labels("n", "b").value += 1
    counter.forget("n", "a")
    assert {s.labels["function"] for s in families(counter)["c"].samples} == {"b"}  # type: ignore[attr-defined]


def test_long_page_lets_others_run_while_it_is_made() -> None:
    counter = metrics.counters("c_total", "C.", "function")
    for number in range(3 * metrics.PIECE_LINES):
        counter.labels(str(number)).value += 1

    async def run() -> tuple[bytes, int]:
        turns = 0
        making = asyncio.ensure_future(metrics.page(metrics.lines([counter])))
        while not making.done():
            turns += 1
            counter.labels(f"new-{turns}").value += 1  # comes while the page is made
            await asyncio.sleep(0)
        return making.result(), turns

    made, turns = asyncio.run(run())
    assert made.count(b"\nc_total{") >= 3 * metrics.PIECE_LINES
    assert turns > 3


def test_function_is_on_the_page_from_its_first_call_to_its_deletion() -> None:
    stats = Stats()
    key = FunctionKey("n/f")
    function = stats.of(key)
    assert "n" not in names_of(stats)
    function.told(404, 0.001)
    page = "".join(stats.lines())
    assert 'corral_calls_total{namespace="n",function="f",status="4xx"} 1\n' in page
    assert 'corral_calls_total{namespace="n",function="f",status="5xx"} 0\n' in page, "a rate needs its beginning"
    stats.forget(key)
    function.told(200, 0.001)  # one that was in flight
    assert "n" not in names_of(stats)


def test_call_that_outlives_its_function_does_not_bring_it_back() -> None:
    stats = Stats()
    function = stats.of(FunctionKey("n/f"))
    stats.forget(FunctionKey("n/f"))
    function.told(200, 0.001)
    function.left()
    assert "n" not in names_of(stats)


def names_of(stats: Stats) -> set[str]:
    """Namespaces on the page."""
    return set(re.findall(r'namespace="(\w+)"', "".join(stats.lines())))


def test_wrong_number_of_labels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has labels \('a', 'b'\), got \('x',\)"):
        metrics.counters("c_total", "C.", "a", "b").labels("x")
