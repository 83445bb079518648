"""The report: one HTML file that needs nothing else, for a manager to read and an engineer to check."""

from collections.abc import Iterator, Mapping
from html import escape
from importlib.resources import files

from corral.race import svg
from corral.race.classes import MEANING
from corral.race.outcome import ALL, REST, Contender, Course, Outcome
from corral.race.pareto import pareto
from corral.race.results import json_of
from corral.race.sentences import headline, recommendation
from corral.race.tables import glance, meanings, table
from corral.race.terms import STARTS, compared
from corral.race.timeline import timeline
from corral.race.verdict import verdict
from corral.race.words import number, share

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""For the browser: whatever a trace's names may hold, nothing is fetched and nothing runs."""


def report(outcome: Outcome) -> str:
    """The page. Same outcome, same text."""
    page = files("corral.race").joinpath("report.css").read_text(encoding="utf-8")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Scaling rules raced on {escape(outcome.course.source)}</title>",
            f"<style>{page}{svg.style()}</style></head><body><main>",
            *_sections(outcome),
            "</main></body></html>\n",
        ]
    )


def _sections(outcome: Outcome) -> Iterator[str]:
    yield from _head(outcome)
    yield from _pictures(outcome)
    yield from _tables(outcome)
    yield from _classes(outcome)
    yield from _instances(outcome)
    yield from _compared(outcome.course)
    yield from _made(outcome)
    yield from _data(outcome)


# -- what the manager reads ---------------------------------------------------------------------------------


def _head(outcome: Outcome) -> Iterator[str]:
    course = outcome.course
    whole = course.groups[ALL]
    yield "<header><p class=brand>Corral race</p><h1>Which scaling rule suits this traffic</h1>"
    yield (
        f"<p>{whole.calls:,} calls to {whole.functions:,} functions in {course.minutes:,} minutes of "
        f"{escape(course.source)}, served {len(outcome.contenders)} times over: once under each policy.</p></header>"
    )
    said = "".join(f"<li>{escape(sentence)}</li>" for sentence in headline(outcome))
    yield f'<section aria-labelledby="h-won"><h2 id="h-won">Who wins on what</h2><ul class=said>{said}</ul>'
    starts = course.terms.get(STARTS)
    if starts is not None:
        yield (
            f"<p class=note>Rules are compared, not engines: a start takes {escape(starts)}, under every policy alike. "
            "More of that below, under What is compared.</p>"
        )
    yield "</section>"


def _pictures(outcome: Outcome) -> Iterator[str]:
    paid = "added latency" if outcome.has_waits else "cold starts"
    yield '<section aria-labelledby="h-pareto"><h2 id="h-pareto">What callers pay, and what it costs in memory</h2>'
    groups = [(ALL, f"All functions: {paid} against idle memory")]
    if outcome.course.dominating is not None:
        groups.append((REST, f"Without the dominating function: {paid} against idle memory"))
    for at, (group, title) in enumerate(groups):
        picture = pareto(outcome.contenders, verdict(outcome.contenders, group), f"pareto-{at}", title)
        yield _figure(picture.inline(), title)
    yield (
        "<p class=note>Each point is a policy; both axes are logarithmic. Filled squares are unbeaten: no other policy "
        "is at least as good on both axes and better on one. Whoever lies above and right of the dashed stairs is "
        "beaten. A thin line joins one rule under several settings.</p></section>"
    )


def _figure(drawn: str, title: str) -> str:
    return f"<figure>{drawn}<figcaption>{escape(title)}</figcaption></figure>"


def _tables(outcome: Outcome) -> Iterator[str]:
    course = outcome.course
    yield '<section aria-labelledby="h-all"><h2 id="h-all">The figures</h2>'
    yield "<p class=note><span class=won>■</span> unbeaten.</p>"
    yield table(outcome.contenders, ALL, "All functions")
    if course.dominating is not None:
        yield table(outcome.contenders, REST, "Without the dominating function")
        part = share(course.groups[ALL].calls - course.groups[REST].calls, course.groups[ALL].calls)
        name = f"<code>{escape(course.dominating)}</code>"
        yield f"<p class=note>The dominating function makes {part} of all calls: {name}</p>"
    yield meanings()
    pools, zygotes, refused = (
        {each.name: number(getattr(each, what)) for each in outcome.contenders if getattr(each, what)}
        for what in ("pool_gb_min", "zygote_gb_min", "refused")
    )
    yield _remark("Of the idle memory, warm pools, in GB-min", pools)
    yield _remark(
        "Memory of functions' zygotes, in GB-min; in no figure above, as all policies get them alike", zygotes
    )
    yield _remark("Calls refused, which count with the time they were held", refused)
    yield "</section>"


def _remark(said: str, value_by_policy: Mapping[str, str]) -> str:
    """Nothing where there is nothing to say."""
    known = "; ".join(f"{name} {value}" for name, value in value_by_policy.items())
    return f"<p class=note>{said}: {escape(known)}.</p>" if known else ""


def _classes(outcome: Outcome) -> Iterator[str]:
    yield '<section aria-labelledby="h-kinds"><h2 id="h-kinds">By kind of traffic</h2>'
    yield glance(outcome)
    for name, meaning in MEANING.items():
        group = outcome.course.groups.get(name)
        if group is None:
            continue
        yield f"<h3>{name.capitalize()}</h3>"
        yield f"<p>{group.functions:,} functions, {group.calls:,} calls: {escape(meaning)}.</p>"
        yield f"<p class=said><strong>Recommended:</strong> {escape(recommendation(outcome, name))}</p>"
        yield table(outcome.contenders, name, f"{name.capitalize()} functions")
    yield "</section>"


def _instances(outcome: Outcome) -> Iterator[str]:
    known = [each for each in outcome.contenders if each.instances]
    if not known:
        return
    title = "Instances over time, the mean of each minute"
    yield '<section aria-labelledby="h-time"><h2 id="h-time">Instances over time</h2>'
    yield _figure(timeline(known, outcome.course, "timeline", title).inline(), f"{title}; all panels have one scale")
    yield "</section>"


def _compared(course: Course) -> Iterator[str]:
    said = compared(course.terms)
    if said:
        points = "".join(f"<li>{escape(each)}</li>" for each in said)
        yield '<section aria-labelledby="h-fair"><h2 id="h-fair">What is compared, and what is not</h2>'
        yield f"<ul>{points}</ul></section>"


# -- what the engineer checks -------------------------------------------------------------------------------


def _made(outcome: Outcome) -> Iterator[str]:
    course = outcome.course
    yield '<section aria-labelledby="h-made"><h2 id="h-made">How it was made</h2><dl>'
    for name, value in _terms(course):
        yield f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
    yield "</dl>"
    if course.notes:
        yield f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in course.notes)}</ul>"
    yield "<h3>Policies</h3><dl>"
    for each in outcome.contenders:
        yield f"<dt>{escape(each.name)}</dt><dd>{escape(_settings(each))}</dd>"
    yield "</dl></section>"


def _terms(course: Course) -> Iterator[tuple[str, str]]:
    yield "trace", course.source
    for name, digest in sorted(course.sha256.items()):
        yield f"SHA-256 of {name}", digest
    yield "minutes", f"{course.first_minute} to {course.first_minute + course.minutes - 1}"
    yield from course.terms.items()
    yield "Corral", course.version


def _settings(each: Contender) -> str:
    said = ", ".join(f"{name} = {_shown(value)}" for name, value in each.settings.items() if value is not None)
    return f"engine {each.engine}{', ' if said else ''}{said}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _data(outcome: Outcome) -> Iterator[str]:
    # `<` as a number: no name may end the element that it stands in.
    data = json_of(outcome).replace("<", "\\u003c")
    yield f'<script type="application/json" id="race">{data}</script>'
