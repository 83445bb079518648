"""What is raced, as a person says it: `corral,openfaas:mode=capacity,target=5,fixed-10m`."""

import re
from collections.abc import Callable, Iterator, Mapping

from corral.errors import Invalid
from corral.model import ScalingValue
from corral.policy import SCALERS

FIXED = re.compile(r"fixed-(\d{1,4})m\Z")
FIXED_MAX_M = 1440
Value = Callable[[str], ScalingValue]
"""Reads the text of a setting."""

FIXED_DEFAULTS = ("fixed-2m", "fixed-10m", "fixed-15m")
"""The keep-alives of Fission, OpenWhisk and OpenFaaS Pro by themselves."""
KNOB_DEFAULTS = ("corral:second_gib_min=10", "corral:second_gib_min=1000")
"""Corral's one knob, a factor of ten to either side: so much memory is a second of waiting worth."""
SERVES_ONE = {"openfaas": "openfaas:mode=capacity,target=1"}
"""What an engine is raced with where its defaults assume that an instance takes many calls at once: one that takes one
at a time would be given 50 a second, however long they are."""


def defaults() -> tuple[str, ...]:
    """What is raced when nothing is named: every engine with its own defaults, Corral's also with less and with more
    memory, and keep-alives that know nothing."""
    return (*(SERVES_ONE.get(engine, engine) for engine in SCALERS), *KNOB_DEFAULTS, *FIXED_DEFAULTS)


def policies_of(text: str, value_of: Value) -> Mapping[str, Mapping[str, ScalingValue]]:
    """Label -> scaling as `race` takes it, in the order they were named. Raises Invalid with every mistake."""
    found: dict[str, Mapping[str, ScalingValue]] = {}
    problems: list[str] = []
    for label in _labels(text):
        try:
            said = _said(label, value_of)
        except Invalid as fault:
            problems.extend(fault.problems)
            continue
        if label in found:
            problems.append(f"policies: {label} is named twice, must be once")
        found[label] = said
    if not found and not problems:
        problems.append(f"policies = {text!r}, must name at least one of {', '.join(defaults())}")
    if problems:
        raise Invalid(*problems)
    return found


def _labels(text: str) -> Iterator[str]:
    """A policy with its settings each: what has `=` but no `:` before it belongs to the one before."""
    label = ""
    for piece in (piece.strip() for piece in text.split(",")):
        if label and "=" in piece and ":" not in piece.partition("=")[0]:
            label += f",{piece}"
            continue
        if label:
            yield label
        label = piece
    if label:
        yield label


def _said(label: str, value_of: Value) -> Mapping[str, ScalingValue]:
    engine, _, settings = label.partition(":")
    fixed = FIXED.match(engine)
    if fixed is None and engine not in SCALERS:
        known = f"{', '.join(SCALERS)} or fixed-Nm (a keep-alive of N minutes)"
        raise Invalid(f"policy {engine[:80]!r} is not known, must be one of {known}; settings as in corral:idle_s=60")
    pairs = [piece.partition("=") for piece in settings.split(",") if piece]
    wrong = [f"policy {engine}: {key[:80]!r}, must be KEY=VALUE" for key, is_pair, _ in pairs if not is_pair]
    if wrong:
        raise Invalid(*wrong)
    said = {key.strip(): value_of(value.strip()) for key, _, value in pairs}
    if fixed is None:
        return {"engine": engine, **said}
    minutes = int(fixed[1])
    if not 1 <= minutes <= FIXED_MAX_M or said:
        raise Invalid(f"policy {label[:80]}: must be fixed-1m to fixed-{FIXED_MAX_M}m, without settings")
    return keep_alive(minutes)


def keep_alive(minutes: int) -> Mapping[str, ScalingValue]:
    """An instance is started when a call finds none, and stopped when none came to it for so long."""
    return {"engine": "corral", "idle_s": 60 * minutes}
