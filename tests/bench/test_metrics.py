from corral.bench.metrics import means, samples, total

PAGE = """\
# HELP corral_cold_starts_total Instances started because a call waited.
# TYPE corral_cold_starts_total counter
corral_cold_starts_total{function="a",namespace="bench"} 3
corral_cold_starts_total{function="with } and \\"",namespace="bench"} 4.0
corral_cold_starts_total{function="a",namespace="other"} 1
corral_cold_starts_total_created 17
# TYPE corral_instances gauge
corral_instances 2
# TYPE corral_instance_starts_total counter
"""


def test_total_sums_over_labels() -> None:
    assert total(PAGE, "corral_cold_starts_total") == 8


def test_total_of_some_labels() -> None:
    assert total(PAGE, "corral_cold_starts_total", namespace="bench") == 7
    assert total(PAGE, "corral_cold_starts_total", namespace="none") == 0


def test_a_gauge_without_labels() -> None:
    assert list(samples(PAGE, "corral_instances")) == [({}, 2.0)]


def test_a_counter_that_does_not_exist_is_not_one_that_did_not_rise() -> None:
    assert total(PAGE, "corral_cold_starts") is None


def test_a_declared_counter_without_samples_stands_at_nought() -> None:
    assert total(PAGE, "corral_instance_starts_total") == 0


def test_means_of_a_histogram_by_label() -> None:
    page = """\
cold_seconds_bucket{part="forked",le="0.1"} 4
cold_seconds_sum{part="forked"} 0.8
cold_seconds_count{part="forked"} 4
cold_seconds_sum{part="loaded"} 0
cold_seconds_count{part="loaded"} 0
"""
    assert means(page, "cold_seconds", "part") == {"forked": 0.2}
