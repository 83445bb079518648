"""What its owner says of a function's scaling, as text: `engine=knative,target=50`."""

import re
from collections.abc import Iterable
from typing import Any

from corral.errors import Invalid
from corral.model import ScalingValue

PAIR = re.compile(r"\s*\w+\s*=")
NUMBER = re.compile(r"-?\d+(\.\d+)?\Z")


def scaling_of_text(text: str) -> dict[str, ScalingValue]:
    """Of `engine=knative,target=50`; empty for an empty text. Raises Invalid."""
    return scaling_of_pairs(_pairs(text))


def _pairs(text: str) -> list[str]:
    """A value of several words may have commas, as the hours of a crontab: `windows=0 8,12 * * 1,3 for 2h keep 5`."""
    pairs: list[str] = []
    for piece in text.split(","):
        if pairs and not PAIR.match(piece) and " " in pairs[-1].partition("=")[2].strip():
            pairs[-1] += f",{piece}"
        elif piece.strip():
            pairs.append(piece)
    return pairs


def scaling_of_pairs(pairs: Iterable[str]) -> dict[str, ScalingValue]:
    """Of `target=50` and the like. Raises Invalid with every pair that is none."""
    pairs = list(pairs)
    wrong = [f"{pair[:80]!r}, must be KEY=VALUE, as in engine=knative" for pair in pairs if "=" not in pair]
    if wrong:
        raise Invalid(*wrong)
    return {key.strip(): value_of(value.strip()) for key, _, value in (pair.partition("=") for pair in pairs)}


def value_of(text: str) -> Any:
    """`50` and `0.5` are numbers, `true` and `false` what they say, everything else text."""
    if text in ("true", "false"):
        return text == "true"
    if NUMBER.match(text):
        return float(text) if "." in text else int(text)
    return text
