"""What a scaling rule lets its user set: read from what was said, with every mistake named beside the allowed range."""

import math
import reprlib
from collections.abc import Container, Iterator, Mapping
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from corral.errors import Invalid


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Base of a rule's settings. Each field is a key: its type carries the range, the text under it the unit."""

    def conflicts(self, least: int, most: int) -> Iterator[str]:
        """One sentence for each value that does not fit to another one, or to a function of `least` to `most`
        instances."""
        yield from ()

    def said(self, names: Container[str]) -> Iterator[tuple[str, str]]:
        """Those of the fields `names` that are not at their default, with their values as users say them."""
        for field in msgspec.structs.fields(self):
            value = getattr(self, field.name)
            if field.name in names and value != field.default:
                yield field.encode_name, str(value).lower() if isinstance(value, bool) else str(value)

    @property
    def keeps(self) -> int:
        """Instances that stay by these settings though nothing calls, where the function's own `min` is less. They
        are promised as those are, also to a function that nobody has called yet."""
        return 0

    def fewest(self, least: int, most: int) -> int:
        """What stays of a function whose own `min` and `max` these are."""
        return min(max(least, self.keeps), most)

    @property
    def acts_alone(self) -> bool:
        """By these settings its scaler starts instances though nothing happens: it is asked from the start."""
        return False

    @property
    def needs_usage(self) -> bool:
        """By these settings its scaler goes by what instances use: it is asked at each measurement, once a second."""
        return False


Kind = TypeVar("Kind", bound=Settings)


def read_settings(kind: type[Kind], said: Mapping[str, object]) -> Kind:
    """Raises Invalid with one sentence for each key that is not known and each value that is not allowed."""
    fields = _fields(kind)
    problems: list[str] = []
    read: dict[str, Any] = {}
    for name, value in said.items():
        if name not in fields:
            problems.append(f"{name[:80]} is no setting of it, must be one of {', '.join(fields) or 'none'}")
            continue
        field = fields[name]
        try:
            read[field.name] = _read(field.type, value)
        except msgspec.ValidationError:
            problems.append(f"{name} = {reprlib.repr(value)}, must be {allowed(field.type)}")
    if problems:
        raise Invalid(*problems)
    return kind(**read)


@cache
def _fields(kind: type[Settings]) -> Mapping[str, msgspec.structs.FieldInfo]:
    """By the names users give them. Asked at every start for every function; finding out takes 30 µs."""
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


def _read(kind: object, value: object) -> object:
    if isinstance(value, float) and math.isnan(value):  # it compares false with every bound
        raise msgspec.ValidationError("not a number")
    return msgspec.convert(value, kind)


def allowed(kind: object) -> str:
    """What a field of this type may hold: `a whole number between 6 and 3600`."""
    if get_origin(kind) in (Union, UnionType):
        (kind,) = [each for each in get_args(kind) if each is not type(None)]
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    if kind is bool:
        return "true or false"
    if get_origin(kind) is not Annotated:
        return "text"
    base, meta = get_args(kind)
    number = "a whole number" if base is int else "a number"
    if meta.gt is not None:
        return f"{number} above {meta.gt:.10g}, at most {meta.le:.10g}"
    return f"{number} between {meta.ge:.10g} and {meta.le:.10g}"
