"""A recording is read as a trace and as a journal, or refused with the line that is wrong."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from corral.errors import Invalid
from corral.race import recording
from corral.race.formats import read_trace
from corral.race.race import race
from corral.race.recording import replayed

HEAD: dict[str, Any] = {"corral_recording": 1, "version": "0.1.0", "namespace": "shop", "wall": 1e9, "now": 100.0}
CART = {"revision": "shop/cart@3", "concurrency": 1, "memory_mib": 256, "used_mib": 40, "trigger": "timer"}
CALLS = [
    ["shop/cart@3", 99.0, 0.0, 0.5, False, 200],
    ["shop/cart@3", 170.0, 0.004, 0.2, True, 200],
    ["shop/cart@3", 101.0, 0.0, 0.1, False, 200],
    ["shop/cart@4", 102.0, 0.0, 0.3, False, 500],
    ["shop/mail@1", 103.0, 30.0, 0.0, False, 503],
]
END = {"end": {"why": "the time is over"}}


def written(path: Path, *lines: dict[str, Any], name: str = "recording.jsonl") -> Path:
    text = "".join(json.dumps(line) + "\n" for line in lines).replace('{"corral_recording": 1', '{"corral_recording":1')
    file = path / name
    file.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return file


@pytest.mark.parametrize("name", ["recording.jsonl", "recording.jsonl.gz"])
def test_recording_is_a_trace_of_its_calls(tmp_path: Path, name: str) -> None:
    file = written(tmp_path, HEAD, {"function": CART}, {"calls": CALLS[:3], "left_out": 0},
                   {"calls": CALLS[3:], "left_out": 7}, END, name=name)  # fmt: skip
    trace = read_trace(file)
    cart, mail = trace.functions
    assert (cart.app, cart.name, cart.trigger, cart.memory_mib, list(cart.counts)) == (
        "shop",
        "cart",
        "timer",
        40,
        [2, 1],
    )
    assert cart.calls is not None
    assert (list(cart.calls.arrived_s), list(cart.calls.service_s)) == ([1.0, 2.0, 70.0], [0.1, 0.3, 0.2])
    assert cart.durations.average_ms == pytest.approx(200)
    assert (mail.name, mail.memory_mib, list(mail.counts)) == ("mail", 128, [1, 0])
    assert (trace.minutes, trace.total, list(trace.sha256)) == (2, 4, [name])
    assert [note.split()[0] + " " + note.split()[2] for note in trace.notes[:3]] == ["1 were", "1 arrived", "7 were"]


def test_recorded_calls_are_raced_at_their_moments(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, HEAD, {"calls": CALLS[1:3], "left_out": 0}))
    [score] = race(trace, {"corral": {"idle_s": 5.0}})
    assert (score.calls, score.cold_starts) == (2, 2), "69 s lie between them"


def test_recording_that_was_cut_off_counts_up_to_there(tmp_path: Path) -> None:
    file = written(tmp_path, HEAD, {"calls": CALLS, "left_out": 0})
    file.write_bytes(file.read_bytes() + b'{"calls": [["shop/ca')
    assert read_trace(file).total == 4
    packed = written(tmp_path, HEAD, *[{"calls": CALLS, "left_out": 0}] * 5000, name="cut.gz")
    packed.write_bytes(packed.read_bytes()[:-20])
    assert 0 < read_trace(packed).total <= 20_000


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        pytest.param([HEAD | {"corral_recording": 2}], "line 1: is of format 2, must be 1", id="another-format"),
        pytest.param([{"corral_recording": 1}], "line 1: .*version", id="head-without-fields"),
        pytest.param([HEAD], "holds no call that arrived while it was made", id="no-call"),
        pytest.param([HEAD, {"calls": CALLS[:1]}], "holds no call", id="only-earlier-calls"),
        pytest.param([HEAD, END, {"calls": [["a", "soon"]]}], "line 3: .*calls", id="no-call-of-ours"),
        pytest.param([HEAD, {"calls": [["a", 1e12, 0, 0, False, 200]]}], "line 2: a call of a", id="years-later"),
        pytest.param([HEAD, {"calls": [["a", 101, 0, 1e9, False, 200]]}], "line 2: a call of a", id="call-of-years"),
        pytest.param([HEAD, {"calls": [["a", 101, 0, -1, False, 200]]}], "line 2: a call of a", id="negative"),
        pytest.param([HEAD, {"calls": 3}], "line 2: .*must be a line of a recording", id="no-list"),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, lines: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(Invalid, match=f"recording.jsonl.*{said}"):
        read_trace(written(tmp_path, *lines))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        pytest.param([HEAD, {"calls": CALLS}], "has no journal: only a recording of all", id="of-a-namespace"),
        pytest.param([HEAD | {"namespace": None}], "has no journal", id="cut-before-its-state"),
        pytest.param([HEAD | {"namespace": None}, {"state": {"$": "os:path"}}], "cannot be read", id="foreign-state"),
    ],
)
def test_what_has_no_journal_is_not_replayed(tmp_path: Path, lines: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        replayed(written(tmp_path, *lines))


def test_line_that_unfolds_to_more_than_any_has_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "LINE_MAX_BYTES", 1000)
    file = written(tmp_path, HEAD, {"calls": CALLS[1:2]}, {"padding": "x" * 10_000_000}, name="bomb.gz")
    assert file.stat().st_size < 20_000
    with pytest.raises(Invalid, match=r"bomb\.gz line 3: is longer than 1,000 bytes"):
        read_trace(file)


def test_calls_that_unfold_to_more_than_memory_holds_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "BYTES_PER_CALL", 2**50)
    with pytest.raises(Invalid, match=r"line 2: after 4 calls the memory that is free is full"):
        read_trace(written(tmp_path, HEAD, {"calls": CALLS}, name="bomb.gz"))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"none\.jsonl cannot be read: No such file"):
        replayed(tmp_path / "none.jsonl")
