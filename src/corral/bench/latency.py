"""Row `latency`: what Corral adds to a call of a warm function, at one connection."""

from collections.abc import Sequence

from corral.bench.contest import JSON_BODY, Contest
from corral.bench.direct import NoInstance, direct_instance
from corral.bench.frames import FrameWire
from corral.bench.functions import ECHO
from corral.bench.load import closed_loop
from corral.bench.manage import Function
from corral.bench.percentiles import spread
from corral.bench.schedule import turns
from corral.bench.table import Figure, Row
from corral.model import FunctionSpec

BLOCK, ROUNDS, QUICK_ROUNDS = 1000, 10, 2
WARM_UP = 300
ADDED_US = 150.0
TITLE = "Added latency of a warm call, 1 connection, against a minimal client of `frame`"


def measure_latency(contest: Contest) -> Row:
    function = Function(name="latency", source=ECHO, spec=FunctionSpec(min=1, max=1, concurrency=1))
    contest.management.deploy([function])
    contest.say("latency: through Corral and directly, in turns")
    request = contest.call(function, JSON_BODY)
    head = b"POST /\r\ncontent-type: application/json\r\nx-request-id: 0123456789abcdef\r\n"
    notes = ["direct: the same runtime and function without gateway and namespaces; closed loop, turns ABBA"]
    try:
        with direct_instance(ECHO) as path:
            wires = (FrameWire(path, head, JSON_BODY), contest.door()())
            seconds: tuple[list[float], list[float]] = ([], [])
            for wire in wires:
                closed_loop(wire, request, WARM_UP)
            for lane in turns(QUICK_ROUNDS if contest.quick else ROUNDS):
                seconds[lane].extend(closed_loop(wires[lane], request, BLOCK))
            for wire in wires:
                wire.close()
    except (NoInstance, OSError) as exc:
        return Row(name="latency", title=TITLE, figures=_figures([], []), notes=[*notes, f"not measured: {exc}"])
    return Row(name="latency", title=TITLE, figures=_figures(*seconds), notes=notes)


def _figures(direct: Sequence[float], through: Sequence[float]) -> list[Figure]:
    """Seconds in, microseconds out."""
    bare, ours = (spread([second * 1e6 for second in lane]) for lane in (direct, through))
    both = (bare, ours) if bare and ours else None
    return [
        Figure(name="added at p50", value=both[1].p50 - both[0].p50 if both else None, unit="µs", most=ADDED_US),
        Figure(name="added at p99", value=both[1].p99 - both[0].p99 if both else None, unit="µs"),
        Figure(name="through Corral p50", value=ours.p50 if ours else None, unit="µs"),
        Figure(name="direct p50", value=bare.p50 if bare else None, unit="µs"),
    ]
