"""What its owner says of functions, in corral.toml or by flags, turned into specs. Runs at the client.

Every mistake is one sentence that names where it stands, the value and what would be right; all come at once."""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from corral.errors import Invalid
from corral.model import DEFAULT_NAMESPACE, DNS_LABEL, NETWORKS, STYLES, FunctionSpec, spec_problems
from corral.package.scaling import scaling_of_text
from corral.policy import scaling_problems

FILE = "corral.toml"
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?\Z")
UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


class Wrong(Exception):
    """The value of one key; the text says what would be right."""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Wrong('must be text in quotes, as in "app.py:main"')
    return value


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Wrong("must be a whole number")
    return value


def _mebibytes(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Wrong("must be a whole number of MiB, as in 256")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Wrong("must be a number")
    return float(value)


def _yes_or_no(value: object) -> bool:
    if not isinstance(value, bool):
        raise Wrong("must be true or false")
    return value


def duration_s(value: object) -> float:
    """Seconds of `30`, `"30s"`, `"500ms"`, `"2m"` or `"1h"`."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    found = DURATION.match(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise Wrong('must be a time, as in "30s", "500ms" or "2m"')
    return float(found[1]) * UNIT_S[found[2]]


def _choice(allowed: tuple[str, ...]) -> Callable[[object], str]:
    def choose(value: object) -> str:
        if value not in allowed:
            near = difflib.get_close_matches(str(value), allowed, 1)
            raise Wrong(f"must be one of {', '.join(allowed)}" + (f"; {near[0]}?" if near else ""))
        return str(value)

    return choose


def _environment(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(each, (str, int, float)) for each in value.values()):
        raise Wrong('must be a table of texts, as in {GREETING = "hello"}')
    return {name: each if isinstance(each, str) else str(each) for name, each in value.items()}


def _scaling(value: object) -> dict[str, Any]:
    """A table, or text as a flag has it."""
    if isinstance(value, str):
        try:
            return scaling_of_text(value)
        except Invalid as fault:
            raise Wrong(f"has {fault.problems[0]}") from fault
    if not isinstance(value, dict) or not all(isinstance(each, (str, int, float)) for each in value.values()):
        raise Wrong('must be a table, as in {engine = "knative", target = 50}')
    return value


class Key(msgspec.Struct, frozen=True):
    """A key of corral.toml, which is also a flag of `corral deploy`."""

    field: str
    """Of FunctionSpec."""
    read: Callable[[object], object]
    help: str


KEYS: dict[str, Key] = {
    "handler": Key("handler", _text, "file:function, as in app.py:main; found by its name when not given"),
    "style": Key("style", _choice(STYLES), f"how it is called ({', '.join(STYLES)}); recognised when not given"),
    "runtime": Key("runtime", _text, "the interpreter, as in python3.11"),
    "env": Key("env", _environment, "environment variables"),
    "memory": Key("memory_mib", _mebibytes, "MiB an instance may use"),
    "cpu": Key("cpu", _number, "cores an instance may use"),
    "concurrency": Key("concurrency", _whole, "calls at once in an instance"),
    "timeout": Key("timeout_s", duration_s, "of a call, as in 30s, 500ms, 2m"),
    "hold": Key("hold_s", duration_s, "how long a call may wait for an instance"),
    "min": Key("min", _whole, "instances kept always"),
    "max": Key("max", _whole, "instances at most"),
    "initial": Key("initial", _whole, "instances that must load before the deployment counts; 0 deploys unverified"),
    "idle": Key("idle_s", duration_s, "an instance idle for so long is stopped"),
    "body_max": Key("body_max_mib", _number, "MiB of a request's body at most"),
    "queue": Key("queue", _whole, "calls that may wait"),
    "scaling": Key(
        "scaling",
        _scaling,
        "the rule that decides how many instances there are, and its settings, as in "
        "engine=knative,target=50; what the namespace has when not given",
    ),
    "network": Key("network", _choice(NETWORKS), "none, or host to share this machine's network"),
    "private": Key("private", _yes_or_no, "only tokens that may invoke may call it"),
}
KEY_BY_FIELD = {key.field: name for name, key in KEYS.items()}


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """One function to deploy."""

    namespace: str
    name: str
    path: Path
    """A file or folder: its code."""
    spec: FunctionSpec


def read_deployments(
    path: Path, name: str | None, namespace: str | None, flags: Mapping[str, object]
) -> list[Deployment]:
    """What `corral deploy [name] path` means. `flags` are keys of KEYS and win over the file; None: not given.
    With several functions in the file, `name` picks one; None takes all. Raises Invalid with every mistake."""
    if not path.exists():
        raise Invalid(f"path = {path}, must be a file or folder; there is none")
    file = path / FILE
    reader = _Reader(path, flags)
    if path.is_dir() and file.is_file():
        deployments = reader.file(file, name, namespace)
    else:
        if name is None:
            reader.problems.append(f"name is missing: corral deploy NAME {path}, or name = … in {FILE}")
        deployments = [reader.one("", name or "x", namespace or DEFAULT_NAMESPACE, path, {})]
    if reader.problems:
        raise Invalid(*reader.problems)
    return deployments


class _Reader:
    """Reads with all mistakes collected."""

    def __init__(self, path: Path, flags: Mapping[str, object]) -> None:
        self._path = path
        self._flags = {name: value for name, value in flags.items() if value is not None}
        self.problems: list[str] = []

    def file(self, file: Path, name: str | None, namespace: str | None) -> list[Deployment]:
        try:
            tree = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
            raise Invalid(f"{file}: not TOML: {exc}") from exc
        except OSError as exc:
            raise Invalid(f"{file}: cannot be read: {exc.strerror}") from exc
        several = tree.pop("functions", None)
        named = tree.pop("name", None)
        inside = tree.pop("namespace", DEFAULT_NAMESPACE)
        for key, value in (("name", named), ("namespace", inside)):
            if value is not None and not isinstance(value, str):
                self.problems.append(f"{file}: {key} = {_show(value)}, must be text in quotes")
        space = namespace or str(inside)
        if several is None:
            if name is None and named is None:
                self.problems.append(f"{file}: name is missing: name = … there, or corral deploy NAME {self._path}")
            return [self.one(f"{file}: ", name or str(named or "x"), space, self._path, tree)]
        if not isinstance(several, dict) or not several:
            raise Invalid(f"{file}: functions = {_show(several)}, must be tables, as in [functions.hello]")
        if named is not None:
            self.problems.append(
                f"{file}: name = {_show(named)}, must not stand beside [functions.…], which name theirs"
            )
        return self._several(file, name, space, tree, several)

    def _several(
        self, file: Path, name: str | None, namespace: str, shared: dict[str, Any], several: dict[str, Any]
    ) -> list[Deployment]:
        if name is not None and name not in several:
            near = difflib.get_close_matches(name, several, 1)
            hint = f"; {near[0]}?" if near else ""
            raise Invalid(f"name = {name!r}, must be one of those in {file}: {', '.join(several)}{hint}")
        deployments = []
        for each, table in several.items():
            where = f"{file}: functions.{each}"
            if name is not None and each != name:
                continue
            if not isinstance(table, dict):
                self.problems.append(f"{where} = {_show(table)}, must be a table")
                continue
            # What stands above the tables holds for all of them.
            env = {**_table(shared.get("env")), **_table(table.get("env"))}
            merged = {**shared, **table, **({"env": env} if env else {})}
            path = self._code_of(where, merged.pop("path", "."))
            deployments.append(self.one(f"{where}.", each, namespace, path, merged))
        return deployments

    def _code_of(self, where: str, said: object) -> Path:
        if not isinstance(said, str):
            self.problems.append(f"{where}.path = {_show(said)}, must be text in quotes")
            return self._path
        path = self._path / said
        if not path.resolve().is_relative_to(self._path.resolve()):
            self.problems.append(f"{where}.path = {_show(said)}, must lie below {self._path}")
        elif not path.exists():
            self.problems.append(f"{where}.path = {_show(said)}, must be a file or folder; there is none")
        return path

    def one(self, where: str, name: str, namespace: str, path: Path, table: Mapping[str, Any]) -> Deployment:
        for kind, value in (("name", name), ("namespace", namespace)):
            if not DNS_LABEL.match(value):
                self.problems.append(
                    f"{kind} = {value[:80]!r}, must be a DNS label: 1 to 63 of a-z, 0-9 and -, "
                    "beginning and ending with a letter or digit"
                )
        fields = dict(self._fields(where, table))
        env = fields.get("env")
        fields.update(self._fields("--", self._flags))
        if isinstance(env, dict) and isinstance(fields["env"], dict):
            fields["env"] = env | fields["env"]
        spec = FunctionSpec(**fields)
        for problem in (*spec_problems(spec), *scaling_problems(spec.scaling, spec.min, spec.max)):
            field, rest = re.match(r"(\w+)(.*)", problem, re.DOTALL).groups()  # type: ignore[union-attr]
            key = KEY_BY_FIELD.get(field, field)
            self.problems.append(f"{'--' if key in self._flags else where}{key}{rest}")
        return Deployment(namespace=namespace, name=name, path=path, spec=spec)

    def _fields(self, where: str, table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, value in table.items():
            key = KEYS.get(name)
            if key is None:
                near = difflib.get_close_matches(name, [*KEYS, "functions", "name", "namespace", "path"], 1)
                hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(KEYS)}"
                self.problems.append(f"{where}{name} is not known{hint}")
                continue
            try:
                yield key.field, key.read(value)
            except Wrong as wrong:
                self.problems.append(f"{where}{name} = {_show(value)}, {wrong}")


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _show(value: object) -> str:
    return repr(value)[:80]
