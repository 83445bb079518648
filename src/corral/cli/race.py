"""`corral race`: every scaling rule on one's own traffic, and who wins on what."""

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from corral import __version__
from corral.cli.output import print_table
from corral.errors import Invalid
from corral.package.scaling import value_of
from corral.race.arrivals import ARRIVALS, Arrivals
from corral.race.coldstart import MEASURED, ColdStart, fixed
from corral.race.conditions import Conditions
from corral.race.entrants import Entrants, InBins, InEvents
from corral.race.export import TRACE_FILES, files_2019
from corral.race.formats import read_trace
from corral.race.outcome import ALL, Contender, Outcome
from corral.race.pareto import pareto
from corral.race.policies import defaults, policies_of
from corral.race.report import report as html_of
from corral.race.results import csv_of, json_of
from corral.race.sentences import headline
from corral.race.synthetic import synthetic
from corral.race.trace import Trace
from corral.race.verdict import verdict
from corral.race.whole import check_places, write_whole
from corral.race.words import number, seconds

DEMO_FUNCTIONS, DEMO_MINUTES = 30, 90
"""So that all engines together take less than 20 s on two slow cores."""
MINUTES = re.compile(r"(\d{1,6})-(\d{1,6})\Z")

Place = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option("--trace", "source", type=click.Path(path_type=Path), metavar="PATH", help="Folder or file of a trace.")
@click.option("--demo", is_flag=True, help="A small made-up trace instead.")
@click.option("--policies", "named", metavar="A,B,…", help="ENGINE, ENGINE:KEY=VALUE,… or fixed-10m [all].")
@click.option("--functions", "count", type=click.IntRange(1), metavar="N", help="So many, of all sizes [all].")
@click.option("--minutes", "span", metavar="A-B", help="As the trace numbers them, both inside [all].")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, metavar="S", help="Of all that is drawn.")
@click.option("--cold-start", "start", default="measured", show_default=True, metavar="MS", help="Each start takes MS.")
@click.option("--arrivals", type=click.Choice(ARRIVALS), default="uniform", show_default=True, help="Inside a minute.")
@click.option("--minute-bins", "bins", is_flag=True, help="Cold starts and idle memory by whole minutes only.")
@click.option("--report", "html", type=Place, metavar="FILE", help="Write the report, HTML.")
@click.option("--json", "as_json", type=Place, metavar="FILE", help="Write the figures as JSON.")
@click.option("--csv", "as_csv", type=Place, metavar="FILE", help="Write the figures as CSV.")
@click.option("--picture", type=Place, metavar="FILE", help="Write the picture of latency and memory, SVG.")
@click.option(
    "--write-trace", "folder", type=click.Path(path_type=Path), metavar="FOLDER", help="What is raced on, as CSV."
)
@click.option("--live", is_flag=True, help="The same calls on a real server too, each policy twice.")
@click.option("--url", metavar="URL", help="With --live: this server, instead of one of its own.")
@click.option("--processes", type=click.IntRange(1), metavar="N", help="Policies at the same time [one per core].")
def race(
    source: Path | None,
    demo: bool,
    named: str | None,
    count: int | None,
    span: str | None,
    seed: int,
    start: str,
    arrivals: Arrivals,
    bins: bool,
    html: Path | None,
    as_json: Path | None,
    as_csv: Path | None,
    picture: Path | None,
    folder: Path | None,
    live: bool,
    url: str | None,
    processes: int | None,
) -> None:
    """Serve a trace of calls under each policy in turn, in a simulation that runs Corral's own pools and rules, and
    say who wins on what: added latency, cold starts and idle memory.

    PATH is a folder with invocations.csv, durations.csv and memory.csv as Azure Functions published them in 2019, a
    file as they did in 2021, or what `corral record` wrote. The same trace, policies and seed give the same report,
    byte for byte.

    With --live the calls are also made to real functions that sleep for as long as the calls take, each policy twice in
    the order ABBA, and what it came to is printed beside the simulation: at most 50,000 calls in 60 minutes."""
    if url is not None and not live:
        raise Invalid("--url is only for --live: without it nothing is raced on a server")
    conditions = Conditions(seed=seed, arrivals=arrivals, cold_start=cold_start_of(start))
    if live:
        from corral.cli.racelive import race_beside

        refuse_beside_live(
            {"--minute-bins": bins, "--report": html, "--csv": as_csv, "--picture": picture, "--write-trace": folder}
        )
        check_places([] if as_json is None else [as_json])
        policies = policies_of(named or ",".join(defaults()), value_of)
        race_beside(cut(trace_of(source, demo, seed), count, span), policies, conditions, url, as_json)
        return
    parallel = processes or len(os.sched_getaffinity(0))
    entrants: Entrants = InBins(named) if bins else InEvents(named, value_of, conditions, parallel)
    places: Sequence[tuple[Path | None, Callable[[Outcome], str]]] = (
        (html, html_of),
        (as_json, json_of),
        (as_csv, csv_of),
        (picture, picture_of),
    )
    wanted = [(path, writer) for path, writer in places if path is not None]
    check_places([*(path for path, _ in wanted), *(folder / name for name in TRACE_FILES if folder is not None)])
    trace = cut(trace_of(source, demo, seed), count, span)
    with progress(trace, entrants.labels) as told:
        outcome = entrants.race(trace, __version__, told)
    texts = {path: writer(outcome) for path, writer in wanted}
    if folder is not None:
        texts |= {folder / name: text for name, text in files_2019(trace).items()}
    write_whole(texts)
    show(outcome)
    for path in texts:
        click.echo(f"wrote {path}")


def refuse_beside_live(options: Mapping[str, object]) -> None:
    """Option -> what was given for it."""
    given = [name for name, value in options.items() if value]
    if given:
        raise Invalid(f"{given[0]} is not for --live, which prints live beside simulated and writes --json")


def picture_of(outcome: Outcome) -> str:
    found = verdict(outcome.contenders, ALL)
    return pareto(outcome.contenders, found, "pareto", f"Policies raced on {outcome.course.source}").file()


def trace_of(source: Path | None, demo: bool, seed: int) -> Trace:
    if demo == (source is not None):
        raise Invalid("corral race needs --trace PATH, or --demo for a made-up one; not both")
    return synthetic(DEMO_FUNCTIONS, DEMO_MINUTES, seed) if source is None else read_trace(source)


def cut(trace: Trace, count: int | None, span: str | None) -> Trace:
    """Minutes first: of the functions that are called in them, `count`."""
    if span is not None:
        said = MINUTES.match(span)
        if said is None:
            raise Invalid(f"--minutes {span[:40]!r}, must be two numbers, as in {trace.first_minute}-{last_of(trace)}")
        trace = trace.between(int(said[1]), int(said[2]))
    return trace if count is None else trace.spread(count)


def last_of(trace: Trace) -> int:
    return trace.first_minute + trace.minutes - 1


def cold_start_of(said: str) -> ColdStart:
    if said == MEASURED.name:
        return MEASURED
    try:
        return fixed(float(said))
    except ValueError:
        raise Invalid(f"--cold-start {said[:40]!r}, must be a number of milliseconds, or measured") from None


@contextmanager
def progress(trace: Trace, policies: Sequence[str]) -> Iterator[Callable[[str, float], None]]:
    """A bar on a terminal; elsewhere nothing."""
    done = dict.fromkeys(policies, 0.0)
    label = f"{trace.total:,} calls under {len(policies)} policies"
    is_hidden = not sys.stderr.isatty()
    with click.progressbar(length=1000, label=label, file=sys.stderr, hidden=is_hidden, show_eta=False) as bar:

        def told(policy: str, part: float) -> None:
            done[policy] = part
            bar.update(int(1000 * sum(done.values()) / len(done)) - bar.pos)

        yield told


def show(outcome: Outcome) -> None:
    whole = verdict(outcome.contenders, ALL)
    won = {each.name for each in whole.unbeaten}
    waits = ("ADDED LATENCY", "P99", "P99.9", "LONGEST") if outcome.has_waits else ()
    head = ("POLICY", "COLD STARTS", *waits, "IDLE GB-MIN", "")
    print_table(head, [_row(each, each.name in won) for each in outcome.contenders])
    click.echo()
    for sentence in headline(outcome):
        click.echo(f"- {sentence}")


def _row(each: Contender, has_won: bool) -> Sequence[str]:
    of = each.groups[ALL]
    known = (value for value in (of.wait_s, of.wait_p99_s, of.wait_p999_s, of.wait_max_s) if value is not None)
    waits = (seconds(value) for value in known)
    return [each.name, f"{of.cold:,}", *waits, number(of.idle_gb_min), "unbeaten" if has_won else ""]
