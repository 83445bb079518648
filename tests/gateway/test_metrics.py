"""The text Prometheus reads, checked by its own parser."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

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


def test_forgotten_children_are_no_longer_shown() -> None:
    counter = metrics.counters("c_total", "C.", "namespace", "function", "status")
    for function in ("a", "b"):
        for status in ("2xx", "5xx"):
            counter.labels("n", function, status).value += 1
    counter.forget("n", "a")
    assert {s.labels["function"] for s in families(counter)["c"].samples} == {"b"}  # type: ignore[attr-defined]


def test_wrong_number_of_labels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has labels \('a', 'b'\), got \('x',\)"):
        metrics.counters("c_total", "C.", "a", "b").labels("x")
