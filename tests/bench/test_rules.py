from corral.bench.load import Sample
from corral.bench.rules import capacity_s, figures_of, scalings
from corral.policy import SCALERS, read_scaling


def call(at: float, took_s: float, status: int = 200) -> Sample:
    return Sample(lane=0, intended=at, sent=at, done=at + took_s, status=status)


def test_capacity_is_there_after_the_last_call_that_waited() -> None:
    assert capacity_s([call(10.0, 0.4), call(10.5, 0.011), call(11.5, 0.2), call(12.0, 0.011)]) == 1.5


def test_capacity_was_there_from_the_first_call_on() -> None:
    assert capacity_s([call(10.0, 0.011), call(10.5, 0.049)]) == 0.0


def test_a_call_without_an_answer_found_no_capacity() -> None:
    assert capacity_s([call(10.0, 0.011), call(12.0, 0.001, status=503), call(13.0, 0.011)]) == 2.0


def test_capacity_that_never_came_has_no_number() -> None:
    assert capacity_s([call(10.0, 0.4), call(12.0, 0.4)]) is None


def test_every_rule_is_measured_and_only_the_default_one_has_a_target() -> None:
    assert list(scalings()) == list(SCALERS)
    for said in scalings().values():
        read_scaling(said)
    figures = [figure for engine in scalings() for figure in figures_of(engine, [call(10.0, 0.011)], 1)]
    assert [figure.name for figure in figures if figure.target] == ["corral: errors"]
