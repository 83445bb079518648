"""The management API as bench needs it: packages, functions in bulk, metrics, and waiting until nothing runs."""

import http.client
import io
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from corral.bench import metrics
from corral.bench.server import Server
from corral.model import FunctionSpec, to_json

NAMESPACE = "bench"
BULK = 250
"""Functions in one request."""
PAUSE_S = 0.05


class Refused(Exception):
    """The server answered otherwise than it should; the message holds its words."""


class Function(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    source: str
    spec: FunctionSpec
    requirements: str = ""
    """The text of its requirements.txt; empty: it has none."""

    @property
    def files(self) -> dict[str, str]:
        """Its package: path -> text."""
        more = {"requirements.txt": self.requirements} if self.requirements else {}
        return {"app.py": self.source, **more}


class Management:
    """One keep-alive connection to a server's API."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._connection = http.client.HTTPConnection(server.host, server.port, timeout=60)

    def deploy(self, functions: Sequence[Function]) -> None:
        """Upload each one's code and deploy all of them, BULK at a time; back when the server says they stand."""
        for start in range(0, len(functions), BULK):
            rows = [
                {"name": each.name, "package": self._upload(each.files), "spec": _said(each.spec)}
                for each in functions[start : start + BULK]
            ]
            self._ask("POST", f"/corral/v1/namespaces/{NAMESPACE}/functions", to_json(rows), "application/json")

    def _upload(self, files: Mapping[str, str]) -> str:
        answer = self._ask("POST", f"/corral/v1/namespaces/{NAMESPACE}/packages", pack(files), "application/x-tar")
        package: str = msgspec.json.decode(answer)["package"]
        return package

    def delete(self, functions: Sequence[Function]) -> None:
        self.delete_named([function.name for function in functions])

    def delete_named(self, names: Sequence[str]) -> None:
        for name in names:
            self._ask("DELETE", f"/corral/v1/namespaces/{NAMESPACE}/functions/{name}")

    def names(self) -> list[str]:
        """Of all functions that are deployed in the namespace."""
        answer = self._ask("GET", f"/corral/v1/namespaces/{NAMESPACE}/functions")
        return [each["name"] for each in msgspec.json.decode(answer)["functions"]]

    def status(self) -> dict[str, Any]:
        """What `/corral/v1/status` says."""
        answer: dict[str, Any] = msgspec.json.decode(self._ask("GET", "/corral/v1/status"))
        return answer

    def metrics(self) -> str:
        return self._ask("GET", "/metrics").decode()

    def cold_starts(self) -> float:
        """Instances started because a call waited, since the server began."""
        return self._counted("corral_cold_starts_total")

    def starts(self) -> float:
        """Instances started for any reason since the server began."""
        return self._counted("corral_instance_starts_total")

    def cold_parts_ms(self) -> dict[str, float]:
        """Part of a cold start -> its mean over all since the server began."""
        seconds = metrics.means(self.metrics(), "corral_cold_start_seconds", "part")
        return {part: mean * 1000 for part, mean in seconds.items()}

    def zygotes(self) -> float:
        """Functions that have a zygote of their own now, or one that is being raised."""
        return self._counted("corral_function_zygotes")

    def evictions(self, kind: str) -> float:
        """Of `instance`s or `zygote`s, for want of memory, since the server began."""
        return self._counted("corral_evictions_total", kind=kind)

    def _counted(self, name: str, **labels: str) -> float:
        """Raises Refused when the server does not count it: what is not counted is not 0."""
        count = metrics.total(self.metrics(), name, **labels)
        if count is None:
            raise Refused(f"/metrics has no {name}")
        return count

    def instances(self) -> float:
        """Of the namespace, that exist now, in any state."""
        return metrics.total(self.metrics(), "corral_instances", namespace=NAMESPACE) or 0.0

    def await_instances(self, count: int, within_s: float, *, at_least: bool = False) -> bool:
        """Wait until exactly (or `at_least`) `count` instances exist; False when `within_s` passed first."""
        return _await(self.instances, lambda seen: seen == count or (at_least and seen > count), within_s)

    def charged_mib(self, function: Function) -> float | None:
        """What each of its instances counts for, as measured; None: it was not."""
        answer = self._ask("GET", f"/corral/v1/namespaces/{NAMESPACE}/functions/{function.name}")
        memory = msgspec.json.decode(answer).get("memory")
        return float(memory["charged_mib"]) if memory is not None and memory["is_measured"] else None

    def await_zygotes(self, functions: Sequence[Function], within_s: float) -> int:
        """Wait until each of `functions` has a zygote that can fork; how many had when `within_s` had passed."""
        _await(lambda: sum(map(self._has_zygote, functions)), lambda seen: seen == len(functions), within_s)
        return sum(map(self._has_zygote, functions))

    def _has_zygote(self, function: Function) -> bool:
        answer = self._ask("GET", f"/corral/v1/namespaces/{NAMESPACE}/functions/{function.name}")
        rank = msgspec.json.decode(answer).get("zygote_rank")
        return rank is not None and rank["state"] == "kept"

    def _ask(self, method: str, path: str, body: bytes = b"", content_type: str = "") -> bytes:
        fields = {"authorization": f"Bearer {self.server.token}"}
        if content_type:
            fields["content-type"] = content_type
        try:
            self._connection.request(method, path, body or None, fields)
            response = self._connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as exc:
            raise Refused(f"{method} {path}: {type(exc).__name__}: {exc}") from exc
        finally:
            # A slow row asks minutes apart, and the server ends an idle connection after one.
            self._connection.close()
        if response.status >= 300:
            raise Refused(f"{method} {path} answered {response.status}: {answer[:500].decode(errors='replace')}")
        return answer


def _await(look: Callable[[], float], is_there: Callable[[float], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if is_there(look()):
            return True
        time.sleep(PAUSE_S)
    return False


def path_of(function: Function) -> str:
    return f"/function/{function.name}.{NAMESPACE}"


def pack(files: Mapping[str, str]) -> bytes:
    """A tar of `files` (path -> text), the same bytes for the same files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, text in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text.encode())
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


def _said(spec: FunctionSpec) -> dict[str, Any]:
    """Only what differs from the defaults, as a person would write it."""
    default = FunctionSpec()
    values = msgspec.structs.asdict(spec)
    return {field: value for field, value in values.items() if value != getattr(default, field)}
