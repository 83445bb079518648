"""What every row is given, and what rows share."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from corral.bench.load import Sample
from corral.bench.manage import Function, Management, path_of
from corral.bench.percentiles import spread
from corral.bench.server import Server, own_server
from corral.bench.table import Row
from corral.bench.wires import Door, HttpWire, request

JSON_BODY = b'{"name": "corral", "numbers": [1, 2, 3], "nested": {"text": "as small bodies are"}}'


class Contest(msgspec.Struct, frozen=True, kw_only=True):
    """One row's surroundings: a server that has done nothing yet, unless it is somebody else's."""

    server: Server
    management: Management
    quick: bool
    rng: random.Random
    say: Callable[[str], None]
    """For people who wait: what is being measured."""

    def door(self) -> Door:
        return lambda: HttpWire(self.server.host, self.server.port)

    def call(self, function: Function, body: bytes = b"") -> bytes:
        """The request that calls `function`."""
        return request("POST" if body else "GET", path_of(function), self.server.netloc, body)

    @contextmanager
    def beside(self, settings: Mapping[str, object] | None = None, data: Path | None = None) -> Iterator["Contest"]:
        """The same row on another server of bench's own, which runs while the first one does; see own_server."""
        with own_server(settings, data) as server:
            yield msgspec.structs.replace(self, server=server, management=Management(server))


Measure = Callable[[Contest], Row]


def failures(samples: Sequence[Sample]) -> list[str]:
    """The different ways in which calls went wrong, with how often; empty when none did."""
    seen: dict[str, int] = {}
    for sample in samples:
        if not sample.succeeded:
            what = sample.error or f"answered {sample.status}: {sample.body[:200].decode(errors='replace')}"
            seen[what] = seen.get(what, 0) + 1
    return [f"{count} × {what}" for what, count in sorted(seen.items(), key=lambda item: -item[1])[:3]]


def planned_and_sent(samples: Sequence[Sample]) -> str:
    """How well the generator kept to its plan. Its lateness is inside every latency, never taken off."""
    sent = [sample.lateness_ms for sample in samples if sample.sent]
    late = spread(sent)
    if late is None:
        return f"planned {len(samples)}, sent none"
    return f"planned {len(samples)}, sent {len(sent)}; sent late by p50 {late.p50:.2f}, max {late.max:.2f} ms"
