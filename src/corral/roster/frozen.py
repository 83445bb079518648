"""What the Roster holds and hears, as JSON, and back: a recording begins with it, and a replay from it.

Unlike pickle it makes nothing but the Roster's and the rules' own objects, and calls nothing of what it reads: a
recording may come from anybody. It is of one version of Corral, as the rules are whose actions it repeats.

JSON's own values stand for themselves. All else is an object whose first key begins with `$`: `{"$": "MODULE:CLASS",
FIELD: …}` an object, `{"$tuple": […]}` and the like a container, `{"$same": N}` the N-th object of before."""

import importlib
import math
import random
from array import array
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from types import FunctionType, MethodType
from typing import Any

import msgspec

from corral.errors import CorralError, Invalid

ROOMS = ("corral.policy", "corral.roster", "corral.model")
"""Whose classes and functions are written down, and made again."""
MAPPINGS: dict[str, Callable[[], Any]] = {"$dict": dict, "$ordered": OrderedDict, "$counter": Counter}
SERIES: dict[str, Callable[[Any], Any]] = {"$tuple": tuple, "$set": set, "$frozenset": frozenset}


class CannotFreeze(CorralError):
    """Something of the Roster has a type that is not written down."""


def freeze(value: object, *, shares: bool = False) -> Any:
    """What msgspec writes as JSON. `shares`: an object that is there twice is written once, and is one again when it
    is thawed. Raises CannotFreeze."""
    return _Freezing(shares).of(value)


def thaw(frozen: Any) -> Any:
    """Raises Invalid when it was not frozen by this version."""
    try:
        return _Thawing().of(frozen)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, ImportError, RecursionError) as exc:
        raise Invalid(f"what was frozen cannot be read by this version: {type(exc).__name__}: {exc}") from exc


class _Freezing:
    def __init__(self, shares: bool) -> None:
        self._shares = shares
        self._numbers: dict[int, int] = {}
        """Of objects by their address, in the order they were met; all are held by what is frozen."""

    def of(self, value: object) -> Any:
        kind = type(value)
        if value is None or kind in (bool, int, str):
            return value
        if kind is float:
            return value if math.isfinite(value) else {"$float": repr(value)}  # type: ignore[arg-type]
        if isinstance(value, Enum):
            return {"$enum": _name(kind), "value": value.value}
        if isinstance(value, MethodType):
            return {"$method": value.__name__, "of": self.of(value.__self__)}
        if isinstance(value, type | FunctionType):
            return {"$named": _name(value)}
        if self._shares and not isinstance(value, tuple | frozenset):
            number = self._numbers.get(id(value))
            if number is not None:
                return {"$same": number}
            self._numbers[id(value)] = len(self._numbers)
        return self._content(value)

    def _content(self, value: Any) -> Any:
        kind = type(value)
        if kind is list:
            return [self.of(each) for each in value]
        if kind is dict and all(type(key) is str and not key.startswith("$") for key in value):
            return {key: self.of(each) for key, each in value.items()}
        for name, mapping in MAPPINGS.items():
            if kind is mapping:
                return {name: [[self.of(key), self.of(each)] for key, each in value.items()]}
        for name, series in SERIES.items():
            if kind is series:
                return {name: [self.of(each) for each in value]}
        if kind is deque:
            return {"$deque": [self.of(each) for each in value], "most": value.maxlen}
        if kind is array:
            return {"$array": value.tolist(), "type": value.typecode}
        if kind is random.Random:
            return {"$random": self.of(value.getstate())}
        return {"$": _name(kind)} | {name: self.of(each) for name, each in _fields(value)}


class _Thawing:
    def __init__(self) -> None:
        self._met: list[Any] = []
        """In the order in which freezing met them."""

    def of(self, frozen: Any) -> Any:
        if isinstance(frozen, list):
            filled: list[Any] = self._meet([])
            filled += [self.of(each) for each in frozen]
            return filled
        if not isinstance(frozen, Mapping):
            return frozen
        name = next(iter(frozen), "")
        if not name.startswith("$"):
            plain: dict[str, Any] = self._meet({})
            plain |= {key: self.of(each) for key, each in frozen.items()}
            return plain
        return self._made(name, frozen)

    def _meet(self, value: Any) -> Any:
        self._met.append(value)
        return value

    def _made(self, name: str, frozen: Mapping[str, Any]) -> Any:
        value = frozen[name]
        if name in MAPPINGS:
            mapping = self._meet(MAPPINGS[name]())
            for key, each in value:
                mapping[self.of(key)] = self.of(each)
            return mapping
        if name in ("$tuple", "$frozenset"):
            return SERIES[name](self.of(each) for each in value)
        if name == "$set":
            some: set[Any] = self._meet(set())
            some.update(self.of(each) for each in value)
            return some
        if name == "$deque":
            series: deque[Any] = self._meet(deque(maxlen=frozen["most"]))
            series.extend(self.of(each) for each in value)
            return series
        return self._single(name, frozen)

    def _single(self, name: str, frozen: Mapping[str, Any]) -> Any:
        value = frozen[name]
        if name == "$same":
            return self._met[value]
        if name == "$float":
            return float(value)
        if name == "$enum":
            return _named(value)(frozen["value"])
        if name == "$named":
            return _named(value)
        if name == "$method":
            owner = self.of(frozen["of"])
            if not any(value in vars(each) for each in type(owner).__mro__ if each is not object):
                raise ValueError(f"{type(owner).__name__} has no {value}")
            return getattr(owner, value)
        if name == "$array":
            return self._meet(array(frozen["type"], value))
        if name == "$random":
            source = self._meet(random.Random())
            source.setstate(self.of(value))
            return source
        return self._object(_named(value), frozen)

    def _object(self, kind: Any, frozen: Mapping[str, Any]) -> Any:
        if issubclass(kind, msgspec.Struct):
            place = len(self._met)
            self._met.append(None)
            made = kind(**{name: self.of(each) for name, each in frozen.items() if name != "$"})
            self._met[place] = made
            return made
        made = self._meet(kind.__new__(kind))
        for name, each in frozen.items():
            if name != "$":
                object.__setattr__(made, name, self.of(each))
        return made


def _fields(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, msgspec.Struct):
        names: list[str] = list(value.__struct_fields__)
    else:
        names = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
        names = [*dict.fromkeys(names), *getattr(value, "__dict__", ())]
    return ((name, getattr(value, name)) for name in names if hasattr(value, name))


def _name(of: Any) -> str:
    module, name = of.__module__, of.__qualname__
    if not _is_ours(module) or "<" in name:
        raise CannotFreeze(f"{module}.{name} is no class or function of {', '.join(ROOMS)}, which alone are recorded")
    return f"{module}:{name}"


def _named(name: str) -> Any:
    module, _, path = name.partition(":")
    if not _is_ours(module):
        raise ValueError(f"{name} is nothing of {', '.join(ROOMS)}")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = vars(found)[part]
    if not isinstance(found, type | FunctionType) or found.__module__ != module:
        raise ValueError(f"{name} is no class or function of its own module")
    return found


def _is_ours(module: str) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in ROOMS)
