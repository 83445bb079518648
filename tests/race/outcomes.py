"""Outcomes as a race would give them, for tests of what is said of them."""

from collections.abc import Mapping

from corral.race.outcome import ALL, REST, Contender, Course, Figures, Group, Outcome

CALLS = 10_000


def figures(cost: float, idle: float, cold: int = 100, calls: int = CALLS) -> Figures:
    return Figures(
        calls=calls,
        cold=cold,
        idle_gb_min=idle,
        busy_gb_min=12.5,
        wait_s=cost,
        wait_p50_s=0.0,
        wait_p99_s=0.008,
        wait_p999_s=0.012,
        wait_max_s=0.5,
    )


def contender(
    name: str, cost: float, idle: float, cold: int = 100, rest: tuple[float, float] | None = None
) -> Contender:
    groups = {ALL: figures(cost, idle, cold), "rare": figures(cost / 2, idle / 2, cold // 2, 500)}
    if rest is not None:
        groups[REST] = figures(*rest, cold=cold, calls=3700)
    return Contender(
        name=name, engine=name.partition(":")[0], settings={"target": 5.0}, groups=groups, instances=[1.0, 2.5, 4.0]
    )


def outcome(*contenders: Contender, dominating: str | None = None, source: str = "a trace") -> Outcome:
    groups: Mapping[str, Group] = {ALL: Group(60, CALLS), "rare": Group(20, 500)}
    if dominating is not None:
        groups = {**groups, REST: Group(59, 3700)}
    course = Course(
        version="1.2.3",
        source=source,
        sha256={"invocations.csv": "ab" * 32},
        first_minute=480,
        minutes=3,
        groups=groups,
        dominating=dominating,
        terms={"seed": "7", "calls lie": "uniform", "a cold start takes": "8 ms each"},
        notes=("Memory was assumed.",),
    )
    return Outcome(course, contenders)
