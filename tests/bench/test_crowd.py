import random

from corral.bench.crowd import HEAVY, zipf


def test_the_first_function_is_called_twice_as_often_as_the_second() -> None:
    calls = zipf(500, 100_000, random.Random(1))
    first, second, last = (calls.count(number) for number in (0, 1, 499))
    assert 1.9 < first / second < 2.1
    assert 0 < last < first / 300


def test_the_same_seed_gives_the_same_calls() -> None:
    assert zipf(10, 100, random.Random(1)) == zipf(10, 100, random.Random(1))


def test_a_heavy_function_answers_with_its_name_and_holds_its_ballast() -> None:
    module: dict[str, object] = {}
    exec(HEAVY.format(name="heavy-1"), module)  # noqa: S102
    main, ballast = module["main"], module["BALLAST"]
    assert callable(main) and isinstance(ballast, bytes)
    assert main({}) == {"name": "heavy-1"}
    assert len(ballast) == 16 * 2**20
