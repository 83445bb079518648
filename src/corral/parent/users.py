"""The range of numeric users that `up` takes, checked against those the machine has given away."""

from collections.abc import Iterator
from pathlib import Path

from corral.config import Keeper
from corral.errors import BadConfiguration

LARGEST = 2**32 - 2
"""The number after it means "no user" to the kernel."""


def check_users(keeper: Keeper, etc: Path = Path("/etc")) -> None:
    """Whoever shares a number with a function may read its memory and end it, and the other way round.
    Raises BadConfiguration when the range meets a user or group of this machine, or one lent to rootless containers."""
    first, last = keeper.uid_base, keeper.uid_base + keeper.uid_count - 1
    range_said = f"keeper.uid_base = {first} with keeper.uid_count = {keeper.uid_count} takes users {first} to {last}"
    if last > LARGEST:
        raise BadConfiguration(f"{range_said}, must end at {LARGEST} or below")
    for file in ("subuid", "subgid"):
        for line, start, count in _entries(etc / file):
            if start <= last and first < start + count:
                raise BadConfiguration(
                    f"{range_said}, and {etc / file} lends some of them by its line {line!r}: {_right()}"
                )
    for file in ("passwd", "group"):
        for line, number, _ in _entries(etc / file, names_one=True):
            if first <= number <= last:
                raise BadConfiguration(
                    f"{range_said}, and {number} is {line.split(':')[0]!r} in {etc / file}: {_right()}"
                )


def _right() -> str:
    return f"must be a range that nobody uses, as the default from {Keeper().uid_base} on mostly is"


def _entries(file: Path, *, names_one: bool = False) -> Iterator[tuple[str, int, int]]:
    """(line, first number, count) of `name:first:count`, or of `name:password:number:…`. Other lines say nothing."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return  # not every machine has all of them
    for line in lines:
        fields = line.split(":")
        first, count = (fields[2:3], ["1"]) if names_one else (fields[1:2], fields[2:3])
        if first and count and first[0].isdecimal() and count[0].isdecimal():
            yield line, int(first[0]), int(count[0])
