"""`corral race` as it is typed: what it writes, and what it says of a mistake before anything is raced."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from corral.cli import race as command
from corral.cli.race import race
from corral.errors import Invalid


@pytest.fixture(autouse=True)
def small_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "DEMO_FUNCTIONS", 12)
    monkeypatch.setattr(command, "DEMO_MINUTES", 12)


def raced(*words: str) -> str:
    result = CliRunner().invoke(race, [*words, "--processes", "1"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*words: str) -> str:
    result = CliRunner().invoke(race, words)
    assert isinstance(result.exception, Invalid), result.output
    return str(result.exception)


def test_demo_prints_the_figures_and_who_wins() -> None:
    said = raced("--demo", "--policies", "corral,fixed-10m")
    head, first, second, _, *sentences = said.splitlines()
    assert head.split() == ["POLICY", "COLD", "STARTS", "ADDED", "LATENCY", "P99", "P99.9", "LONGEST", "IDLE", "GB-MIN"]
    assert (first.split()[0], second.split()[0]) == ("corral", "fixed-10m")
    assert sentences and all(line.startswith("- ") for line in sentences)


def test_same_seed_writes_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    written = []
    for number, seed in enumerate("445"):
        paths = [tmp_path / f"{number}.{kind}" for kind in ("html", "json", "csv")]
        named = ["--report", str(paths[0]), "--json", str(paths[1]), "--csv", str(paths[2])]
        said = raced("--demo", "--policies", "corral,knative", "--seed", seed, *named)
        assert all(f"wrote {path}" in said for path in paths)
        written.append([path.read_bytes() for path in paths])
    assert written[0] == written[1]
    assert all(one != other for one, other in zip(written[0], written[2], strict=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{number}.{kind}" for number in range(3) for kind in ("html", "json", "csv")
    ), "no draft is left"


def test_json_says_under_which_terms_it_was_raced(tmp_path: Path) -> None:
    path = tmp_path / "race.json"
    raced(
        "--demo",
        "--policies",
        "corral:idle_s=60",
        "--cold-start",
        "250",
        "--arrivals",
        "equidistant",
        "--json",
        str(path),
    )
    outcome = json.loads(path.read_text())
    terms = outcome["course"]["terms"]
    assert terms["a cold start takes"] == "250 ms"
    assert terms["calls lie"].startswith("at equal gaps (equidistant)")
    (contender,) = outcome["contenders"]
    assert contender["settings"]["idle_s"] == 60
    assert contender["settings"]["double_after_s"] == 0.05
    groups = contender["groups"]
    kinds = [group for name, group in groups.items() if name in ("steady", "periodic", "bursty", "rare")]
    for key in ("calls", "cold", "idle_gb_min", "wait_s"):
        assert sum(each[key] for each in kinds) == pytest.approx(groups["all"][key]), "each function is in one class"
    rest = groups["without the dominating function"]
    assert rest["calls"] < groups["all"]["calls"] / 2
    assert groups["all"]["wait_max_s"] >= 0.25


def test_minute_bins_know_cold_starts_and_memory_only(tmp_path: Path) -> None:
    path = tmp_path / "race.html"
    said = raced("--demo", "--minute-bins", "--policies", "fixed-2m,hybrid", "--report", str(path))
    assert said.splitlines()[0].split() == ["POLICY", "COLD", "STARTS", "IDLE", "GB-MIN"]
    assert "minute bins: each function has one instance" in path.read_text()
    assert "added latency</th>" not in path.read_text()


def test_picture_stands_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "race.svg"
    raced("--demo", "--policies", "corral,fixed-10m", "--picture", str(path))
    picture = ElementTree.fromstring(path.read_text())
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    assert picture.find("{http://www.w3.org/2000/svg}style") is not None


def test_trace_can_be_cut_to_minutes_and_functions(tmp_path: Path) -> None:
    path = tmp_path / "race.json"
    words = ("--demo", "--policies", "corral", "--minutes", "482-485", "--functions", "3", "--json", str(path))
    raced(*words)
    course = json.loads(path.read_text())["course"]
    assert (course["first_minute"], course["minutes"], course["groups"]["all"]["functions"]) == (482, 4, 3)


@pytest.mark.parametrize(
    "words, problem",
    [
        ((), "corral race needs --trace PATH, or --demo for a made-up one; not both"),
        (("--demo", "--trace", "x"), "corral race needs --trace PATH, or --demo for a made-up one; not both"),
        (("--trace", "/nowhere/at/all"), "/nowhere/at/all cannot be read: No such file or directory"),
        (("--demo", "--policies", "kantive"), "policy 'kantive' is not known, must be one of corral, knative"),
        (
            ("--demo", "--policies", "knative:target=x"),
            "policy knative:target=x: scaling.target = 'x', must be a number",
        ),
        (("--demo", "--policies", "corral:min=few"), "policy corral:min=few: min = 'few': must be whole numbers"),
        (("--demo", "--url", "http://127.0.0.1:1"), "--url is only for --live: without it nothing is raced"),
        (("--demo", "--minutes", "9"), "--minutes '9', must be two numbers, as in 480-491"),
        (("--demo", "--minutes", "1-2"), "minutes = 1-2, must lie within 480-491"),
        (("--demo", "--functions", "13"), "functions = 13, must be between 1 and 12"),
        (("--demo", "--cold-start", "soon"), "--cold-start 'soon', must be a number of milliseconds, or measured"),
        (("--demo", "--cold-start", "-1"), "cold-start = -1, must be between 0 and 3600000 ms"),
        (("--demo", "--report", "/nowhere/at/all.html"), "/nowhere/at/all.html: there is no folder /nowhere/at"),
        (("--demo", "--csv", "x.out", "--json", "x.out"), "x.out is named for two files, must be for one"),
    ],
)
def test_mistakes_are_told_before_anything_is_raced(words: tuple[str, ...], problem: str) -> None:
    assert refused(*words).startswith(problem)


def test_a_trace_that_does_not_parse_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("app,func,end_timestamp,duration\na,f,soon,1\n")
    said = refused("--trace", str(tmp_path / "trace.csv"), "--report", str(tmp_path / "out.html"))
    assert "line 2" in said and "end_timestamp" in said
    assert [path.name for path in tmp_path.iterdir()] == ["trace.csv"]


def test_written_trace_gives_the_same_race(tmp_path: Path) -> None:
    folder = tmp_path / "trace"
    folder.mkdir()
    said = raced("--demo", "--policies", "corral", "--write-trace", str(folder), "--json", str(tmp_path / "made.json"))
    assert f"wrote {folder / 'durations.csv'}" in said
    raced("--trace", str(folder), "--policies", "corral", "--json", str(tmp_path / "read.json"))
    made, read = (json.loads((tmp_path / name).read_text()) for name in ("made.json", "read.json"))
    assert read["contenders"] == made["contenders"]
    assert len(read["course"]["sha256"]) == 3
