"""Traces are read whole or refused with the file, line and column that is wrong."""

import re
from pathlib import Path

import pytest

from corral.errors import Invalid
from corral.race import rows
from corral.race.formats import read_trace
from corral.race.trace import Trace

from .traces import real_trace

INVOCATIONS = """HashOwner,HashApp,HashFunction,Trigger,480,481,482
o1,a1,f1,timer,1,0,2
o1,a1,f2,http,0,0,100
o2,a2,f3,queue,0,1,0
"""
DURATIONS = """HashOwner,HashApp,HashFunction,Average,Count,Minimum,Maximum,percentile_Average_0,percentile_Average_1,\
percentile_Average_25,percentile_Average_50,percentile_Average_75,percentile_Average_99,percentile_Average_100
o1,a1,f1,5,3,1,9,1,1,3,5,7,9,9
o2,a2,f3,50,1,50,50,50,50,50,50,50,50,50
o1,a1,f2,2,100,0,9,0,0,1,2,3,9,9
"""
MEMORY = """HashFunction,HashOwner,HashApp,SampleCount,AverageAllocatedMb,AverageAllocatedMb_pct1
f1,o1,a1,10,64.5,60
f2,o1,a1,10,128,60
f3,o2,a2,10,32,30
"""
FILES = {"invocations.csv": INVOCATIONS, "durations.csv": DURATIONS, "memory.csv": MEMORY}
CALLS = """app,func,end_timestamp,duration
a1,f1,70.5,0.5
a1,f1,130.0,20.0
a2,f1,64.0,1.0
"""


def folder_of(path: Path, **changed: str | None) -> Path:
    """The three files; `changed` by the name before the dot, None: absent."""
    for name, text in FILES.items():
        written = changed.get(name.partition(".")[0], text)
        if written is not None:
            (path / name).write_text(written)
    return path


def test_three_files_are_one_trace(tmp_path: Path) -> None:
    trace = read_trace(folder_of(tmp_path))
    assert [function.name for function in trace.functions] == ["f1", "f2", "f3"]
    second = trace.functions[1]
    assert (second.owner, second.app, second.trigger, list(second.counts)) == ("o1", "a1", "http", [0, 0, 100])
    assert second.durations.average_ms == 2.0
    assert second.durations.percentiles_ms == (0, 0, 1, 2, 3, 9, 9)
    assert [function.memory_mib for function in trace.functions] == [64.5, 128.0, 32.0]
    assert (trace.first_minute, trace.minutes, trace.total, trace.notes) == (480, 3, 104, ())
    assert sorted(trace.sha256) == ["durations.csv", "invocations.csv", "memory.csv"]


def test_invocations_alone_say_what_is_assumed(tmp_path: Path) -> None:
    trace = read_trace(folder_of(tmp_path) / "invocations.csv")
    assert trace.total == 104
    assert [note.partition(":")[0] for note in trace.notes] == ["The trace has no durations", "The trace has no memory"]


def test_calls_of_2021_begin_a_duration_before_their_end(tmp_path: Path) -> None:
    path = tmp_path / "calls.txt"
    path.write_text(CALLS)
    trace = read_trace(path)
    first, second = trace.functions
    assert first.calls is not None
    assert (list(first.calls.arrived_s), list(first.calls.service_s)) == ([10.0, 50.0], [0.5, 20.0])
    assert (list(first.counts), list(second.counts), trace.minutes) == ([2], [1], 1)
    assert first.durations.percentiles_ms[-1] == 20_000
    assert (first.app, second.app) == ("a1", "a2"), "functions of two apps may share a name"


@pytest.mark.parametrize(
    ("name", "before", "after", "says"),
    [
        pytest.param("invocations", "1,0,2\n", "1,0\n", "line 2, column 482: missing", id="line-cut-off"),
        pytest.param(
            "invocations",
            "f2,http,0,0,100\no2,a2,f3,queue,0,1,0\n",
            "",
            "line 3, column Trigger: missing",
            id="file-cut",
        ),
        pytest.param("invocations", "1,0,2\n", "1,0,2,7\n", "line 2: 8 columns, must be 7", id="too-many-columns"),
        pytest.param("invocations", ",0,100", ",-4,100", "line 3, column 481: '-4', must be a whole", id="negative"),
        pytest.param("invocations", ",0,100", ",1.5,100", "line 3, column 481: '1.5', must be a whole", id="a-part"),
        pytest.param("invocations", ",0,100", ",,100", "line 3, column 481: '', must be a whole", id="no-count"),
        pytest.param("invocations", ",0,100", ",9999999999,1", "column 481: '9999999999', must be", id="vast-count"),
        pytest.param("invocations", "Trigger,480", "480", "line 1: column Trigger is missing", id="column-missing"),
        pytest.param("invocations", "481,482", "482,483", "line 1, column 482: follows minute 480", id="gap"),
        pytest.param("invocations", "481,482", "481,x", "line 1, column x: must be the number", id="no-minute"),
        pytest.param("invocations", "f2,http", "f1,http", "line 3, column HashFunction: f1 has a row", id="twice"),
        pytest.param("invocations", "o1,a1,f1,timer,1,0,2\n", "", "durations.csv line 2, column Hash", id="lost"),
        pytest.param("durations", "o1,a1,f2", "o1,a1,f9", "line 4, column HashFunction: f9 is unknown", id="unknown"),
        pytest.param("durations", "o1,a1,f2,2,100,0,9,0,0,1,2,3,9,9\n", "", "has no row for f2", id="lacking"),
        pytest.param("durations", "50,1,50", "fast,1,50", "line 3, column Average: 'fast', must be", id="no-number"),
        pytest.param("durations", "50,1,50", "nan,1,50", "line 3, column Average: 'nan', must be", id="nan"),
        pytest.param("durations", "5,7,9,9", "5,3,9,9", "column percentile_Average_75: 3, must be at", id="falling"),
        pytest.param("memory", "AverageAllocatedMb,", "Mb,", "column AverageAllocatedMb is missing", id="no-memory"),
        pytest.param("durations", "5,7,9,9", "5,7,9,1e9", "Average_100: '1e9', must be", id="call-of-weeks"),
        pytest.param("memory", "64.5", "2e6", "must be a number between 0 and 1048576", id="vast-memory"),
        pytest.param("memory", "64.5", "-64.5", "line 2, column AverageAllocatedMb: '-64.5'", id="negative-memory"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, name: str, before: str, after: str, says: str) -> None:
    assert before in FILES[f"{name}.csv"]
    folder = folder_of(tmp_path, **{name: FILES[f"{name}.csv"].replace(before, after)})
    with pytest.raises(Invalid, match=re.escape(says)) as fault:
        read_trace(folder)
    assert str(tmp_path) in str(fault.value)


@pytest.mark.parametrize("name", ["invocations", "durations", "memory"])
def test_folder_lacks_a_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid, match=rf"has no {name}\.csv, must have"):
        read_trace(folder_of(tmp_path, **{name: None}))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "line 1: '' begins no trace that is known", id="empty"),
        pytest.param("a,b\n1,2\n", "line 1: 'a,b' begins no trace that is known", id="another-format"),
        pytest.param("app,func,end_timestamp,duration\n", "line 2: the file ends after its header", id="only-a-header"),
        pytest.param(CALLS.replace("0.5", "-1"), "line 2, column duration: '-1', must be a number", id="negative"),
        pytest.param(CALLS.replace("130.0", "1e300"), "line 3, column end_timestamp: '1e300', must be", id="no-time"),
        pytest.param(CALLS.replace("64.0", "1e9"), "line 4, column end_timestamp: '1e9', must be", id="years-later"),
        pytest.param(CALLS.replace("20.0", "1e9"), "line 3, column duration: '1e9', must be", id="call-of-years"),
        pytest.param(CALLS.replace("130.0,", ""), "line 3, column duration: missing", id="cut-off"),
    ],
)
def test_file_is_no_trace(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(Invalid, match=re.escape(says)):
        read_trace(path)


def test_file_that_is_not_there_and_one_that_is_not_text(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="none cannot be read: No such file"):
        read_trace(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"\x1f\x8b\xff\xfe")
    with pytest.raises(Invalid, match="is not text in UTF-8"):
        read_trace(tmp_path / "binary")


def test_trace_larger_than_memory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "invocations.csv"
    path.write_bytes(b"x" * 2**20)
    with pytest.raises(Invalid, match="takes about 2 MiB of memory, 1 MiB are free: cut the file"):
        rows.check_memory([path], free=1)
    rows.check_memory([path], free=2)


def trace_of(tmp_path: Path) -> Trace:
    return read_trace(folder_of(tmp_path))


def test_minutes_are_cut_as_the_trace_numbers_them(tmp_path: Path) -> None:
    cut = trace_of(tmp_path).between(480, 481)
    assert [(each.name, list(each.counts)) for each in cut.functions] == [("f1", [1, 0]), ("f3", [0, 1])]
    assert (cut.first_minute, cut.minutes) == (480, 2)
    with pytest.raises(Invalid, match="minutes = 400-481, must lie within 480-482"):
        trace_of(tmp_path).between(400, 481)


def test_single_calls_are_cut_with_their_minutes(tmp_path: Path) -> None:
    path = tmp_path / "calls"
    path.write_text(CALLS + "a1,f1,190,1\na1,f1,255,2\n")
    calls = read_trace(path).between(2, 3).functions[0].calls
    assert calls is not None
    assert (list(calls.arrived_s), list(calls.service_s)) == ([9.0, 73.0], [1.0, 2.0])


def test_chosen_functions_are_spread_over_all(tmp_path: Path) -> None:
    trace = trace_of(tmp_path)
    assert [each.name for each in trace.spread(2).functions] == ["f2", "f3"]
    assert [each.name for each in trace.spread(3).functions] == ["f1", "f2", "f3"]
    with pytest.raises(Invalid, match="functions = 4, must be between 1 and 3"):
        trace.spread(4)


def test_function_with_most_calls_is_left_out(tmp_path: Path) -> None:
    trace = trace_of(tmp_path)
    assert trace.dominating is not None
    left = trace.without(trace.dominating)
    assert [each.name for each in left.functions] == ["f1", "f3"]
    assert (left.total, left.dominating) == (4, left.functions[0])


def test_real_trace_is_the_one_described() -> None:
    trace = read_trace(real_trace("500"))
    assert (trace.total, len(trace.functions), trace.first_minute, trace.minutes) == (3_037_902, 500, 480, 480)
    assert trace.dominating is not None
    assert trace.dominating.total == 1_915_521
    assert trace.sha256["invocations.csv"].startswith("a0ca953d1b50cc1f")
