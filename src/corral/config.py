"""Settings, each written once: name, unit, default and its reason. File, environment, flags and help follow from the
fields. A room is given only its own group.

`--data DIR` may hold `config.toml` with one table per group (`[gateway] header_timeout_s = 5`); the environment says
the same as `CORRAL_GATEWAY_HEADER_TIMEOUT_S=5` and wins over the file; a flag wins over both."""

import hashlib
import itertools
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from corral.errors import BadConfiguration

MEMORY = re.compile(r"(\d+(?:\.\d+)?) ?(%|MiB|GiB)\Z")
MEMORY_LEAST_MIB = 64


class Group(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the groups."""


class Server(Group, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    """Address to listen on. The default is reachable from this machine alone."""
    port: int = 8080
    """TCP port; 0 takes a free one."""
    auth: str = "management"
    """`management`: management needs a token, calls only for private functions. `all`: every call needs one."""


class Gateway(Group, frozen=True, kw_only=True):
    header_timeout_s: float = 10.0
    """A request's head must arrive within this time: against slow senders."""
    body_idle_s: float = 30.0
    """How far a request's body may be behind `body_rate_kib_s`: a pause as long as this, or a slow sender."""
    body_rate_kib_s: float = 4.0
    """A request's body must come this fast: slower than any line in use, and whoever holds up instances by large
    bodies has to pay for it."""
    idle_s: float = 60.0
    """A connection without a request is closed after this time."""
    header_max_bytes: int = 60 * 1024
    """All header lines together."""
    header_max_count: int = 100
    """Header lines."""
    target_max_bytes: int = 8 * 1024
    """Path and query."""
    connections_max: int = 10_000
    """Open client connections; the next one is answered 503 and closed. Below the usual limit of descriptors."""
    relay_timeout_s: float = 600.0
    """The engine's answer to a management request must begin within this time after the request was whole: a
    deployment is answered only when its dependencies are installed and the new revision is verified."""
    window_bytes: int = 256 * 1024
    """Bytes in flight per call and direction before back-pressure."""


class Engine(Group, frozen=True, kw_only=True):
    package_max_mib: float = 64.0
    """A deployed package, unpacked."""
    package_files_max: int = 10_000
    """Files and folders in a package."""


class Keeper(Group, frozen=True, kw_only=True):
    isolation: str = "auto"
    """`auto`: T1 where root, else T0. `namespaces` demands T1, `process` asks for T0. `strict` is T1 in which every
    instance loads its code by itself: none is forked from a process that has run the function's code."""
    network_host: str = "allowed"
    """`allowed`: a function may ask for this machine's network. `forbidden`: none may, where others than you deploy."""
    uid_base: int = 1_900_000_000
    """First numeric user of the range Corral uses; no name in /etc/passwd is needed. Above what systemd gives to
    containers (to 1,879,048,191) and below 2^31; from 100,000 on useradd lends ranges to rootless containers."""
    uid_count: int = 65_536
    """Size of the range: one for each function, two for Corral's own processes."""
    slots: int = 16
    """Sandboxes prepared ahead, each with a process that waits in it (2 MiB): a burst of starts finds them ready."""
    pids_max: int = 128
    """Processes and threads of one instance."""
    tmp_mib: int = 64
    """Size of an instance's /tmp; what is in it counts as memory."""
    log_max_mib: float = 8.0
    """Log kept per function on disk, in two halves."""
    log_rate_kib_s: float = 1024.0
    """What one function may write to its log; beyond it, its writes wait."""


class Layers(Group, frozen=True, kw_only=True):
    install: str = "auto"
    """What a function's requirements may do here. `source`: packages may be built, which runs their authors' code with
    this machine's network, as the function's user. `wheels`: only built ones from the index. `none`: nothing is
    installed. `auto`: none where keeper.network_host = forbidden, wheels where the index or a proxy needs a
    password, else source."""
    index_url: str = ""
    """Where packages come from. Empty: what UV_DEFAULT_INDEX, PIP_INDEX_URL or pip's configuration say, else PyPI."""
    extra_index_url: str = ""
    """Further ones, parted by spaces, which are asked first: what they have is not looked for elsewhere."""
    certificates: str = ""
    """File of the authorities to trust there. Empty: SSL_CERT_FILE, else the system's."""
    timeout_s: float = 300.0
    """An installation may take this long."""
    size_mib: int = 512
    """A layer, unpacked."""
    files_max: int = 50_000
    """Files and folders of a layer."""
    memory_mib: int = 2048
    """While it is installed, its files included."""
    cpu: float = 1.0
    """Cores while it is installed."""


class Budget(Group, frozen=True, kw_only=True):
    memory: str = "80%"
    """What instances and zygotes may use together: a part of this machine's memory (or of a limit around Corral), as
    80%, or an amount, as 4096MiB or 4GiB. The rest is for Corral itself, the page cache and everybody else."""
    zygotes_percent: float = 25.0
    """Most of it that zygotes of functions may hold: they make cold starts short, and instances carry the calls."""
    zygote_saves_ms: float = 5.0
    """A function gets a zygote when loading its code takes as long: below, a start gains less than a zygote costs."""

    def limit_mib(self, machine_mib: float) -> float:
        """`machine_mib` is what there is; 0: not known, and then a part of it is no limit."""
        amount = MEMORY.match(self.memory)
        assert amount is not None, "settings are checked where they are read"
        number, unit = float(amount[1]), amount[2]
        if unit == "%":
            return number / 100 * machine_mib if machine_mib else float("inf")
        return number * (1024 if unit == "GiB" else 1)


class Settings(Group, frozen=True, kw_only=True):
    server: Server = Server()
    gateway: Gateway = Gateway()
    engine: Engine = Engine()
    keeper: Keeper = Keeper()
    layers: Layers = Layers()
    budget: Budget = Budget()


def explain(group: type[Group], field: str) -> str:
    """The text under a field, on one line: what its flag's help says."""
    import ast  # here, because only `corral up` asks, and every process holds this module
    import inspect
    import textwrap

    body = ast.parse(textwrap.dedent(inspect.getsource(group))).body[0]
    assert isinstance(body, ast.ClassDef)
    for line, below in itertools.pairwise(body.body):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.target.id == field:
            assert isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            return " ".join(str(below.value.value).split())
    raise KeyError(field)


def load(data: Path, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """Settings from defaults, `data`/config.toml, `environment` and `flags` (`group.field` -> value; None: not given).
    Raises BadConfiguration with every mistake in one message."""
    problems: list[str] = []
    tree: dict[str, dict[str, Any]] = {}
    file = data / "config.toml"
    if file.is_file():
        try:
            tree = tomllib.loads(file.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
            problems.append(f"{file}: {exc}")
    settings = {}
    for group in msgspec.structs.fields(Settings):
        values = tree.pop(group.name, {})
        if not isinstance(values, dict):
            problems.append(f"{file}: {group.name} = {values!r}, must be a table")
            values = {}
        for field in msgspec.structs.fields(group.type):
            variable = f"CORRAL_{group.name}_{field.name}".upper()
            if variable in environment:
                values[field.name] = environment[variable]
            flag = flags.get(f"{group.name}.{field.name}")
            if flag is not None:
                values[field.name] = flag
        read = _read(group.name, group.type, values, problems)
        settings[group.name] = group.type(**read)
    problems += [_misplaced(file, name, value) for name, value in tree.items()]
    problems += list(_impossible(settings))
    if problems:
        raise BadConfiguration("\n".join(problems))
    return Settings(**settings)


RIGHT = {int: "must be a whole number", float: "must be a number", str: "must be text"}


def _read(name: str, group: type[Group], values: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """The fields that are right; a sentence in `problems` for each other."""
    types = {field.name: field.type for field in msgspec.structs.fields(group)}
    read = {}
    for field, value in values.items():
        if field not in types:
            problems.append(f"{name}.{field} is not known, must be one of {', '.join(types)}")
            continue
        try:
            read[field] = msgspec.convert(value, types[field], strict=False)
        except msgspec.ValidationError:
            problems.append(f"{name}.{field} = {value!r}, {RIGHT[types[field]]}")
    return read


def _misplaced(file: Path, name: str, value: object) -> str:
    groups = msgspec.structs.fields(Settings)
    if isinstance(value, dict):
        return f"{file}: [{name}] is not known, must be one of {', '.join(f'[{group.name}]' for group in groups)}"
    for group in groups:
        if name in {field.name for field in msgspec.structs.fields(group.type)}:
            return f"{file}: {name} = {value!r} stands above every table, must stand under [{group.name}]"
    return f"{file}: {name} is not known"


def _impossible(settings: Mapping[str, Any]) -> list[str]:
    found = []
    choices = {
        ("server", "auth"): ("management", "all"),
        ("keeper", "isolation"): ("auto", "namespaces", "process", "strict"),
        ("keeper", "network_host"): ("allowed", "forbidden"),
        ("layers", "install"): ("auto", "source", "wheels", "none"),
    }
    for (group, choice), allowed in choices.items():
        value = getattr(settings.get(group), choice, allowed[0])
        if value not in allowed:
            found.append(f"{group}.{choice} = {value!r}, must be one of {', '.join(allowed)}")
    for group, values in settings.items():
        for field in msgspec.structs.fields(type(values)):
            value = getattr(values, field.name)
            if (
                isinstance(value, (int, float))
                and not isinstance(value, bool)
                and field.name != "port"
                and not value > 0
            ):
                found.append(f"{group}.{field.name} = {value}, must be above 0")
    budget = settings.get("budget")
    if budget is not None:
        found += _impossible_budget(budget)
    server = settings.get("server")
    if server is not None and not 0 <= server.port <= 65_535:
        found.append(f"server.port = {server.port}, must be between 0 and 65535")
    return found


def _impossible_budget(budget: Budget) -> Iterator[str]:
    amount = MEMORY.match(budget.memory)
    if amount is None:
        yield f"budget.memory = {budget.memory[:80]!r}, must be a part or an amount, as 80%, 4096MiB or 4GiB"
    elif amount[2] == "%" and not 1 <= float(amount[1]) <= 100:
        yield f"budget.memory = {budget.memory}, must be between 1% and 100%"
    elif amount[2] != "%" and budget.limit_mib(0) < MEMORY_LEAST_MIB:
        yield f"budget.memory = {budget.memory}, must be at least {MEMORY_LEAST_MIB}MiB"
    if budget.zygotes_percent > 100:
        yield f"budget.zygotes_percent = {budget.zygotes_percent:g}, must be at most 100"


class Boot(msgspec.Struct, frozen=True, kw_only=True):
    """What the parent tells a process it starts, as JSON in CORRAL_BOOT."""

    settings: Settings
    data: str
    """Absolute path of the data folder."""
    run: str
    """Absolute path of the folder for sockets: `link.sock`, `api.sock`, `i/<slot>.sock`."""
    name: str
    """Eight hex digits of the data folder: groups are called `corral-<name>`."""
    parent_pid: int
    fds: dict[str, int] = {}
    """Inherited sockets: gateway `public`; engine `link`, `api`."""
    admin_token_sha256: str = ""
    """The token `up` made for this run; its holder may do everything."""
    url: str = ""


def read_boot(environment: Mapping[str, str]) -> Boot:
    return msgspec.json.decode(environment["CORRAL_BOOT"], type=Boot)


def data_name(data: Path) -> str:
    """Eight hex digits that stand for this data folder in names of groups and sockets."""
    return hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:8]


EXIT_UNUSABLE = 78
"""Status (EX_CONFIG) by which a process tells the parent that no restart will help: the last line it wrote to stderr
says why. The parent then ends everything with status 2."""
