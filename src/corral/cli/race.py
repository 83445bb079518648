"""`corral race`: every scaling rule on one's own traffic, and who wins on what."""

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import click

from corral import __version__
from corral.cli.output import print_table
from corral.errors import Invalid
from corral.package.scaling import value_of
from corral.race import judge
from corral.race.arrivals import ARRIVALS, Arrivals
from corral.race.coldstart import MEASURED, ColdStart, fixed
from corral.race.conditions import Conditions
from corral.race.formats import read_trace
from corral.race.keepers import KEEPERS, keeper_of
from corral.race.minutes import keep
from corral.race.outcome import ALL, Contender, Outcome
from corral.race.pareto import pareto
from corral.race.policies import FIXED_DEFAULTS, defaults, policies_of
from corral.race.race import check
from corral.race.race import race as simulated
from corral.race.report import report as html_of
from corral.race.results import csv_of, json_of
from corral.race.sentences import headline
from corral.race.synthetic import synthetic
from corral.race.terms import in_bins, in_events
from corral.race.trace import Trace
from corral.race.verdict import verdict
from corral.race.whole import check_places, write_whole
from corral.race.words import number, seconds

DEMO_FUNCTIONS, DEMO_MINUTES = 40, 120
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
    processes: int | None,
) -> None:
    """Serve a trace of calls under each policy in turn, in a simulation that runs Corral's own pools and rules, and
    say who wins on what: added latency, cold starts and idle memory.

    PATH is a folder with invocations.csv, durations.csv and memory.csv as Azure Functions published them in 2019, or a
    file as they did in 2021. The same trace, policies and seed give the same report, byte for byte."""
    entrants: Entrants = InBins(named) if bins else InEvents(named, seed, cold_start_of(start), arrivals, processes)
    places: Sequence[tuple[Path | None, Callable[[Outcome], str]]] = (
        (html, html_of),
        (as_json, json_of),
        (as_csv, csv_of),
        (picture, picture_of),
    )
    wanted = [(path, writer) for path, writer in places if path is not None]
    check_places([path for path, _ in wanted])
    outcome = entrants.race(cut(trace_of(source, demo, seed), count, span))
    write_whole({path: writer(outcome) for path, writer in wanted})
    show(outcome)
    for path, _ in wanted:
        click.echo(f"wrote {path}")


def picture_of(outcome: Outcome) -> str:
    found = verdict(outcome.contenders, ALL)
    return pareto(outcome.contenders, found, "pareto", f"Policies raced on {outcome.course.source}").file()


class Entrants(Protocol):
    """Policies that were understood, and how they are raced."""

    def race(self, trace: Trace) -> Outcome: ...


class InEvents:
    """Every call and every instance is simulated."""

    def __init__(
        self, named: str | None, seed: int, cold_start: ColdStart, arrivals: Arrivals, processes: int | None
    ) -> None:
        self._policies = policies_of(",".join(defaults()) if named is None else named, value_of)
        self._conditions = Conditions(seed=seed, cold_start=cold_start, arrivals=arrivals)
        check(self._policies, self._conditions)
        self._processes = processes or len(os.sched_getaffinity(0))

    def race(self, trace: Trace) -> Outcome:
        how = self._conditions
        with progress(trace, self._policies) as told:
            scores = simulated(
                trace, self._policies, how.seed, how.arrivals, how.cold_start, told, processes=self._processes
            )
        return judge.outcome(trace, judge.course(trace, __version__, in_events(how)), scores)


class InBins:
    """Minutes with and without calls are all that counts."""

    def __init__(self, named: str | None) -> None:
        names = [name.strip() for name in named.split(",")] if named is not None else [*KEEPERS, *FIXED_DEFAULTS]
        self._keepers = {name: keeper_of(name) for name in names}

    def race(self, trace: Trace) -> Outcome:
        with progress(trace, self._keepers) as told:
            kept = {}
            for name, keeper in self._keepers.items():
                kept[name] = keep(trace, keeper)
                told(name, 1.0)
        return judge.outcome_in_bins(trace, judge.course(trace, __version__, in_bins()), kept)


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
def progress(trace: Trace, policies: Mapping[str, object]) -> Iterator[Callable[[str, float], None]]:
    """A bar on a terminal; elsewhere nothing."""
    done = dict.fromkeys(policies, 0.0)
    label = f"{trace.total:,} calls under {len(policies)} policies"
    with click.progressbar(length=1000, label=label, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

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
