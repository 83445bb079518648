"""The report is one page that fetches nothing, says the same each time and trusts nothing that a trace says."""

import json
import re
from html.parser import HTMLParser

import msgspec
import pytest

from corral.race.labels import Box, placed
from corral.race.outcome import ALL, Outcome
from corral.race.pareto import BOTTOM, LEFT, RIGHT, TOP, pareto
from corral.race.report import report
from corral.race.results import csv_of, json_of
from corral.race.svg import axis, text, width_of
from corral.race.verdict import verdict
from corral.race.words import seconds

from .outcomes import contender, outcome

HOSTILE = """"><script>alert(1)</script><img src=x onerror='a()'>&lt;</script>"""
VOID = ("meta", "br", "img", "link", "hr", "wbr")


class Page(HTMLParser):
    """Every element and its attributes; what is not closed in order is a fault."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def raced() -> Outcome:
    return outcome(
        contender("corral", 12.0, 900.0, rest=(7.0, 800.0)),
        contender(HOSTILE, 10.0, 5000.0, rest=(6.0, 4000.0)),
        contender("late:target=5", 640.0, 1500.0, rest=(300.0, 1000.0)),
        dominating=HOSTILE,
        source=HOSTILE,
    )


def test_same_outcome_gives_the_same_bytes(raced: Outcome) -> None:
    assert report(raced) == report(msgspec.json.decode(json_of(raced), type=Outcome))


def test_page_is_well_formed_and_fetches_nothing(raced: Outcome) -> None:
    page = Page(report(raced))
    for tag, attributes in page.elements:
        assert not {"src", "href", "srcset", "style"} & attributes.keys(), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", report(raced))
    assert "@import" not in report(raced) and "url(" not in report(raced)


def test_names_of_the_trace_are_words_never_elements(raced: Outcome) -> None:
    page = Page(report(raced))
    assert not page.all("img")
    (script,) = page.all("script")
    assert script == {"type": "application/json", "id": "race"}
    assert any(HOSTILE in words for words in page.words)


def test_figures_lie_in_the_page_for_machines(raced: Outcome) -> None:
    text = report(raced)
    data = re.search(r'<script type="application/json" id="race">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    assert json.loads(data[1]) == json.loads(json_of(raced))


def test_every_picture_has_a_title_and_says_its_numbers(raced: Outcome) -> None:
    page = Page(report(raced))
    pictures = page.all("svg")
    assert len(pictures) == 3
    ids = {attributes.get("id") for _, attributes in page.elements}
    for picture in pictures:
        assert picture["role"] == "img"
        assert set((picture["aria-labelledby"] or "").split()) <= ids
    assert any("corral: 12 s of added latency at 900 GB-minutes idle (unbeaten)" in words for words in page.words)


def test_a_name_wider_than_its_panel_is_squeezed_and_not_cut_off() -> None:
    name = "openfaas:mode=capacity,target=1"
    assert 'textLength="229.3"' in text(0, 0, name, "bold", most=229.3)
    assert name in text(0, 0, name, "bold", most=229.3)
    assert "textLength" not in text(0, 0, "knative", "bold", most=229.3)


def test_report_says_how_it_was_made(raced: Outcome) -> None:
    words = " ".join(Page(report(raced)).words)
    for said in (
        "ab" * 32,
        "1.2.3",
        "uniform",
        "8 ms each",
        "Memory was assumed.",
        "Rules are compared, not engines: a start takes 8 ms each, under every policy alike.",
        "What is compared, and what is not",
        "480 to 482",
        "engine late, target = 5",
    ):
        assert said in words
    assert "■" in words and " unbeaten" in words and "fewer than 4 gaps between active minutes" in words


def test_csv_has_a_line_for_each_policy_and_group(raced: Outcome) -> None:
    lines = csv_of(raced).splitlines()
    assert lines[0].startswith("policy,engine,group,calls,cold,idle_gb_min,busy_gb_min,wait_s,")
    assert len(lines) == 1 + 3 * 3
    assert lines[1] == "corral,corral,all,10000,100,900.0,12.5,12.0,0.0,0.008,0.012,0.5"


def test_races_in_minute_bins_have_no_waits_and_say_so() -> None:
    def bins(name: str, cold: int, idle: float) -> msgspec.Struct:
        raced = contender(name, 1.0, idle, cold)
        unknown = dict.fromkeys(("wait_s", "wait_p50_s", "wait_p99_s", "wait_p999_s", "wait_max_s", "busy_gb_min"))
        groups = {group: msgspec.structs.replace(each, **unknown) for group, each in raced.groups.items()}
        return msgspec.structs.replace(raced, groups=groups, instances=[])

    page = Page(report(outcome(bins("few", 800, 5636.0), bins("small", 2488, 937.0))))  # type: ignore[arg-type]
    words = " ".join(page.words)
    assert "few is best for callers: 800 cold starts over 10,000 calls" in words
    assert "few: 800 cold starts at 5,636 GB-minutes idle (unbeaten)" in words
    assert "Instances over time" not in words


# -- geometry -----------------------------------------------------------------------------------------------


def test_better_lies_lower_and_further_left() -> None:
    across, up = axis([10.0, 1000.0], 0.0, 100.0), axis([1.0, 64.0], 100.0, 0.0)
    assert 0 < across.at(10.0) < across.at(100.0) < across.at(1000.0) < 100
    assert across.at(100.0) == pytest.approx((across.at(10.0) + across.at(1000.0)) / 2), "logarithmic"
    assert 0 < up.at(64.0) < up.at(1.0) < 100


def test_zero_has_a_place_before_all_other_values() -> None:
    across = axis([0.0, 5.0, 500.0], 10.0, 210.0)
    assert across.at(0.0) == 10.0 < across.at(5.0)
    assert axis([0.0], 10.0, 210.0).at(0.0) == 10.0


@pytest.mark.parametrize("high", [1.0, 3.0, 40.0, 1e3, 1e5, 1e9])
def test_every_axis_has_a_readable_number_of_ticks(high: float) -> None:
    ticks = list(axis([1.0, high], 0.0, 600.0).ticks())
    assert 2 <= len(ticks) <= 13
    assert ticks == sorted(ticks)


def test_names_cover_neither_each_other_nor_points() -> None:
    points = [(f"policy-{number}", 300.0 + 3 * number, 200.0 + 2 * number) for number in range(10)]
    room = Box(0.0, 0.0, 700.0, 400.0)
    labels = placed(points, room, [])
    assert len({(label.x, label.y) for label in labels}) == 10
    boxes = []
    for label in labels:
        wide = width_of(label.name)
        left = {"start": label.x, "end": label.x - wide, "middle": label.x - wide / 2}[label.anchor]
        boxes.append(Box(left, label.y - 11, left + wide, label.y + 3))
    for place, box in enumerate(boxes):
        assert box.within(room)
        assert not any(box.meets(other) for other in boxes[place + 1 :])
        assert not any(box.left < x < box.right and box.top < y < box.bottom for _, x, y in points)


def test_all_marks_lie_within_the_frame(raced: Outcome) -> None:
    drawn = pareto(raced.contenders, verdict(raced.contenders, ALL), "p", "title").body
    xs = [float(x) for x in re.findall(r'<circle class="mark" cx="([\d.]+)"', drawn)]
    ys = [float(y) for y in re.findall(r'<circle class="mark" cx="[\d.]+" cy="([\d.]+)"', drawn)]
    assert len(xs) == 1 and drawn.count('class="mark won"') == 2
    assert all(LEFT < x < RIGHT for x in xs) and all(TOP < y < BOTTOM for y in ys)


@pytest.mark.parametrize(
    "value, said",
    [
        (None, "–"),
        (0.0, "0 s"),
        (0.0000042, "4.2 µs"),
        (0.00273, "2.73 ms"),
        (0.1, "100 ms"),
        (1.0, "1 s"),
        (12.345, "12.3 s"),
        (99.97, "100 s"),
        (12345.6, "12,346 s"),
    ],
)
def test_seconds_are_said_in_three_digits(value: float | None, said: str) -> None:
    assert seconds(value) == said
