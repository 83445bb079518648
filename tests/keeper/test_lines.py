import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.keeper import lines
from corral.keeper.lines import CUT, LAST_LINES, LINE_MAX_BYTES, Line, Splitter, parse
from corral.keeper.logs import DRAIN_MAX_BYTES


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        pytest.param(b"plain", Line("", "plain"), id="a line of a C library"),
        pytest.param(b"\x1eabc-1\x1fhello", Line("abc-1", "hello"), id="a line of a call"),
        pytest.param(b"\x1eabc\x1f", Line("abc", ""), id="an empty line of a call"),
        pytest.param(b"\x1e" + b"a" * 200 + b"\x1fx", Line("", "\x1e" + "a" * 200 + "\x1fx"), id="a tag too long"),
        pytest.param(b"\x1ea b\x1fx", Line("", "\x1ea b\x1fx"), id="a tag that is not printable"),
        pytest.param(b"\x1eabc", Line("", "\x1eabc"), id="a tag without an end"),
        pytest.param(b"\xff\xfe", Line("", "\ufffd\ufffd"), id="not UTF-8"),
        pytest.param(b"dos\r", Line("", "dos"), id="a carriage return"),
    ],
)
def test_a_line_is_read_with_its_tag(raw: bytes, line: Line) -> None:
    assert parse(raw) == line


def test_a_long_line_is_cut_with_a_mark_and_its_rest_goes_by() -> None:
    splitter = Splitter()
    found = [*splitter.feed(b"x" * 20_000), *splitter.feed(b"y" * 50_000), *splitter.feed(b"z\nnext\n")]
    assert found == [Line("", "x" * LINE_MAX_BYTES + CUT), Line("", "next")]


def test_what_a_function_wrote_last_counts_without_a_line_end() -> None:
    splitter = Splitter()
    assert list(splitter.feed(b"one\ntw")) == [Line("", "one")]
    assert list(splitter.finish(b"o\nthree")) == [Line("", "two"), Line("", "three")]


def test_nothing_written_is_no_line() -> None:
    assert list(Splitter().finish(b"")) == []


def test_of_a_flood_in_the_pipe_the_end_is_kept_and_the_gap_named() -> None:
    found = list(Splitter().finish(b"\n" * 60_000 + b"why it died\n"))
    assert len(found) == LAST_LINES + 1
    assert found[0].text == f"corral: {60_001 - LAST_LINES} lines were left out here"
    assert found[-1].text == "why it died"


@given(st.lists(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\n\r\x1e"), max_size=30)), st.data())
def test_lines_do_not_depend_on_how_their_bytes_arrive(texts: list[str], data: st.DataObject) -> None:
    raw = "".join(text + "\n" for text in texts).encode()
    splitter = Splitter()
    lines: list[Line] = []
    while raw:
        size = data.draw(st.integers(1, len(raw)))
        lines += splitter.feed(raw[:size])
        raw = raw[size:]
    assert [line.text for line in lines] == texts


@given(st.lists(st.binary(max_size=3000)))
def test_no_bytes_make_a_line_longer_than_its_limit(chunks: list[bytes]) -> None:
    splitter = Splitter()
    lines = [line for chunk in chunks for line in splitter.feed(chunk * 10)] + list(splitter.finish(b""))
    assert all(len(line.text) <= LINE_MAX_BYTES + len(CUT) for line in lines)


def test_a_flood_of_empty_lines_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []

    def count(line: bytes, is_cut: bool = False) -> Line:
        parsed.append(line)
        return parse(line, is_cut)

    monkeypatch.setattr(lines, "parse", count)
    assert len(list(Splitter().finish(b"\n" * DRAIN_MAX_BYTES))) == LAST_LINES + 1
    assert len(parsed) == LAST_LINES
