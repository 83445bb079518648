"""Every scaling rule by the name users give it, and what they said of it, read. A new rule is a row here."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from corral.errors import Invalid
from corral.policy.balance import MOST_RECENT
from corral.policy.corral import Corral, CorralSettings, Habits, Odds
from corral.policy.fission import Fission, FissionSettings, GenericPool
from corral.policy.fission import choose as choose_fission
from corral.policy.hybrid import Hybrid, HybridSettings, IdleTimes
from corral.policy.knative import Knative, KnativeSettings
from corral.policy.openfaas import OpenFaas, OpenFaasSettings
from corral.policy.openwhisk import OpenWhisk, OpenWhiskSettings, StemCells
from corral.policy.scaler import Scaler, Terms
from corral.policy.settings import Settings, read_settings
from corral.policy.stock import Stock, StockTerms

DEFAULT_ENGINE = "corral"


class Rule(msgspec.Struct, frozen=True):
    settings: type[Settings]
    make: Callable[[Terms], Scaler]
    memory: type[msgspec.Struct] | None = None
    """What is learned of one function; made without arguments, and small: one for each of ten thousand functions.
    None: nothing."""
    recall: Callable[[Any, Mapping[int, int]], None] | None = None
    """Gives what is learned of one function what the engine wrote down of it before: whole minutes, up to four hours ->
    how often it was idle for so long. None: the rule does not go by that."""
    common: Callable[[], object] | None = None
    """Makes what all scalers of the rule on one host share, such as a prior over all functions."""
    stock: Callable[[StockTerms], Stock] | None = None
    """Makes the host's stock of unbound instances; None: the rule keeps none."""
    # How a gateway hands calls to the instances, from the rule's settings:
    choose: Callable[[Any], str] = lambda _: MOST_RECENT
    """Which instance takes a call: a row of policy.balance.CHOOSERS."""
    once: Callable[[Any], bool] = lambda _: False
    """Whether an instance takes one call only."""
    slots: Callable[[Any], int | None] = lambda _: None
    """Calls at once in an instance at most; None: as many as it takes."""


SCALERS: dict[str, Rule] = {
    "corral": Rule(CorralSettings, Corral, memory=Habits, common=Odds),
    "knative": Rule(KnativeSettings, Knative, choose=lambda _: "knative"),
    "openfaas": Rule(OpenFaasSettings, OpenFaas, choose=lambda _: "random"),
    "openwhisk": Rule(
        OpenWhiskSettings,
        OpenWhisk,
        stock=StemCells,
        slots=lambda said: said.concurrency,
    ),
    "fission": Rule(
        FissionSettings,
        Fission,
        stock=GenericPool,
        choose=choose_fission,
        once=lambda settings: settings.once_only,
        slots=lambda settings: settings.slots,
    ),
    "hybrid": Rule(HybridSettings, Hybrid, memory=IdleTimes, recall=IdleTimes.recall),
}


def read_scaling(said: Mapping[str, object]) -> tuple[str, Settings]:
    """(engine, its settings) of `{"engine": "knative", "target": 50}`; without an engine: the default one.
    Raises Invalid with every mistake, each beginning with `scaling.`."""
    engine = said.get("engine", DEFAULT_ENGINE)
    rule = SCALERS.get(engine) if isinstance(engine, str) else None
    if rule is None:
        near = difflib.get_close_matches(str(engine), SCALERS, 1)
        hint = f"; {near[0]}?" if near else ""
        raise Invalid(f"scaling.engine = {str(engine)[:80]!r}, must be one of {', '.join(SCALERS)}{hint}")
    try:
        settings = read_settings(rule.settings, {name: each for name, each in said.items() if name != "engine"})
    except Invalid as fault:
        raise Invalid(*(f"scaling.{problem} (engine {engine})" for problem in fault.problems)) from None
    return str(engine), settings


def scaling_problems(said: Mapping[str, object], least: int = 0, most: int = 1000) -> Iterator[str]:
    """One sentence for each mistake in what was said for a function of `least` to `most` instances."""
    try:
        _, settings = read_scaling(said)
    except Invalid as fault:
        yield from fault.problems
    else:
        yield from (f"scaling.{problem}" for problem in settings.conflicts(least, most))
