"""How each function is scaled now: what was set while it served, else what its newest deployment says, else what its
namespace has for all, else the default engine. Scaling is the function's: all its revisions follow the same."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from corral.model import FunctionKey, FunctionSpec, Revision, ScalingValue, function_key, spec_problems
from corral.ports import Tuning
from corral.roster import DEFAULT_ENGINE, Scaling, read_scaling, scaling_problems

Said = Mapping[str, ScalingValue]


class _Known(msgspec.Struct, frozen=True):
    """A function's newest deployment, and what was set since."""

    number: int
    spec: FunctionSpec
    tuning: Tuning


class Scalings:
    def __init__(self) -> None:
        self._functions: dict[FunctionKey, _Known] = {}
        self._defaults: dict[str, Said] = {}

    def put(self, revision: Revision, tuning: Tuning) -> None:
        """`revision` is the function's newest deployment that counts."""
        self._functions[revision.key] = _Known(revision.number, revision.spec, tuning)

    def forget(self, key: FunctionKey) -> None:
        self._functions.pop(key, None)

    def put_default(self, namespace: str, said: Said) -> None:
        """Empty: it has none."""
        self._defaults[namespace] = said

    def default(self, namespace: str) -> Said:
        return self._defaults.get(namespace, {})

    def tuning(self, revision: Revision) -> Tuning:
        """What was set live and holds for this revision."""
        known = self._functions.get(revision.key)
        if known is None:
            return Tuning()
        return known.tuning if revision.number <= known.number else _kept(known, revision.spec)

    def deploy_problems(self, namespace: str, name: str, spec: FunctionSpec) -> Iterator[str]:
        """One sentence for each mistake in the scaling of a deployment, also where what was set live would not fit."""
        own = [*spec_problems(spec), *scaling_problems(spec.scaling, spec.min, spec.max)]
        yield from own
        known = self._functions.get(function_key(namespace, name))
        if known is not None and not own:
            tuning = _kept(known, spec)
            names = ", ".join(_fields(tuning))
            yield from (f"{problem}; {names} set while it served, see corral scaling" for problem in _fit(spec, tuning))

    def tuning_problems(self, revision: Revision, tuning: Tuning) -> Iterator[str]:
        """One sentence for each mistake in what is to be set live."""
        yield from _fit(self._spec(revision), tuning)

    def effective(self, revision: Revision) -> Tuning:
        """All its fields are set, but for `idle_s` where nobody said any; `scaling` has its engine."""
        spec, live = self._spec(revision), self.tuning(revision)
        scaling = spec.scaling if live.scaling is None else live.scaling
        said = dict(scaling or self.default(revision.namespace))
        return Tuning(
            scaling={"engine": said.pop("engine", DEFAULT_ENGINE), **said},
            min=spec.min if live.min is None else live.min,
            max=spec.max if live.max is None else live.max,
            idle_s=spec.idle_s if live.idle_s is None else live.idle_s,
        )

    def of(self, revision: Revision, initial: int) -> Scaling:
        """What the Roster goes by. `initial` counts only while the deployment is verified."""
        now = self.effective(revision)
        assert now.scaling is not None and now.min is not None and now.max is not None
        engine, settings = read_scaling(now.scaling)
        return Scaling(
            min=settings.fewest(now.min, now.max),
            max=now.max,
            initial=initial,
            idle_s=now.idle_s,
            concurrency=revision.concurrency,
            memory_mib=revision.spec.memory_mib,
            cpu=revision.spec.cpu,
            engine=engine,
            settings=settings,
        )

    def view(self, revision: Revision) -> dict[str, Any]:
        """For people: every setting with its value, and where the engine was said."""
        now, live = self.effective(revision), self.tuning(revision)
        assert now.scaling is not None
        engine, settings = read_scaling(now.scaling)
        origin = "default"
        if live.scaling:
            origin = "live"
        elif self._spec(revision).scaling and live.scaling is None:
            origin = "deployment"
        elif self.default(revision.namespace):
            origin = "namespace"
        return {
            "engine": engine,
            "origin": origin,
            "said": now.scaling,
            "settings": msgspec.to_builtins(settings),
            "min": now.min,
            "max": now.max,
            "idle_s": now.idle_s,
            "live": _fields(live),
        }

    def _spec(self, revision: Revision) -> FunctionSpec:
        known = self._functions.get(revision.key)
        return revision.spec if known is None or revision.number > known.number else known.spec


def _kept(known: _Known, spec: FunctionSpec) -> Tuning:
    """What stays of it after a deployment: all that the deployment does not say otherwise than the one before."""
    named = {field: None for field in _fields(known.tuning) if getattr(spec, field) != getattr(known.spec, field)}
    return msgspec.structs.replace(known.tuning, **named)


def _fit(spec: FunctionSpec, tuning: Tuning) -> Iterator[str]:
    tuned = msgspec.structs.replace(spec, **{field: getattr(tuning, field) for field in _fields(tuning)})
    yield from spec_problems(tuned)
    yield from scaling_problems(tuned.scaling, tuned.min, tuned.max)


def _fields(tuning: Tuning) -> list[str]:
    """Those that were set."""
    return [field for field in Tuning.__struct_fields__ if getattr(tuning, field) is not None]
