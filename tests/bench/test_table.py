import pytest

from corral.bench.table import Figure, Row, missing, render


def row(*figures: Figure, notes: tuple[str, ...] = ()) -> Row:
    return Row(name="cold", title="Cold start", figures=figures, notes=notes)


@pytest.mark.parametrize(
    ("figure", "target", "reached"),
    [
        pytest.param(Figure(name="p50", value=9.9, most=10), "≤ 10", True, id="below the most"),
        pytest.param(Figure(name="p50", value=10.0, most=10), "≤ 10", True, id="the most itself"),
        pytest.param(Figure(name="p50", value=10.1, most=10), "≤ 10", False, id="above the most"),
        pytest.param(Figure(name="rate", value=14_999, least=15_000), "≥ 15,000", False, id="below the least"),
        pytest.param(Figure(name="rate", value=0.31, least=0.3), "≥ 0.3", True, id="above the least"),
        pytest.param(Figure(name="counted", value=299, most=300, least=300), "= 300", False, id="one too few"),
        pytest.param(Figure(name="counted", value=301, most=300, least=300), "= 300", False, id="one too many"),
        pytest.param(Figure(name="counted", value=300, most=300, least=300), "= 300", True, id="exactly"),
        pytest.param(Figure(name="p90", value=5), "", None, id="no target"),
        pytest.param(Figure(name="p50", value=None, most=10), "≤ 10", None, id="no number"),
    ],
)
def test_target_and_whether_it_is_reached(figure: Figure, target: str, reached: bool | None) -> None:
    assert (figure.target, figure.reached) == (target, reached)


def test_check_passes_when_every_target_has_a_number_even_a_bad_one() -> None:
    assert missing([row(Figure(name="p50", value=99, most=10), Figure(name="max", value=None))]) == []


def test_check_names_the_figure_without_a_number_and_the_reason() -> None:
    rows = [row(Figure(name="p50", value=1, most=10), Figure(name="ratio", value=None, most=2.5), notes=("not root",))]
    assert missing(rows) == ["row cold has no number for ratio: not root"]


def test_check_fails_on_a_row_that_was_not_measured_at_all() -> None:
    assert missing([row(notes=("not measured: no server",))]) == [
        "row cold has no number for all figures: not measured: no server"
    ]


def test_check_fails_on_a_row_that_aims_at_nothing() -> None:
    assert missing([row(Figure(name="p50", value=3))]) == ["row cold has no number for all figures"]


def test_render_shows_measured_target_and_reached() -> None:
    table = render(
        [
            row(
                Figure(name="p50", value=4.567, unit="ms", most=10),
                Figure(name="rate", value=12_345.6, unit="/s", least=15_000),
                Figure(name="ratio", value=None, most=2.5),
                notes=("planned 300, sent 300",),
            )
        ]
    )
    lines = [" ".join(line.split()) for line in table.splitlines()]
    assert lines == [
        "measured target reached",
        "",
        "Cold start [cold]",
        "p50 4.57 ms ≤ 10 ms yes",
        "rate 12,346 /s ≥ 15,000 /s NO",
        "ratio no number ≤ 2.5",
        "planned 300, sent 300",
    ]


def test_render_lines_columns_up() -> None:
    table = render([row(Figure(name="short", value=1, most=2), Figure(name="a longer name", value=1000, most=2))])
    figures = [line for line in table.splitlines() if line.endswith(("yes", "NO"))]
    assert len({line.index("≤") for line in figures}) == 1
