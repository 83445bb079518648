"""A call's way through the gateway, from a client's bytes to an instance's frames and back."""

import asyncio
import json
import struct
from pathlib import Path
from time import monotonic

import pytest
import uvloop

from corral import link
from corral.api.native.shapes import UNLOADED
from corral.config import Gateway as GatewaySettings
from corral.contract import frame as wire
from corral.model import ExitCause

from .stage import Run, Stage, Taken, echo, play


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_warm_call_goes_through_and_back(tmp_path: Path, run: Run) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy(), echo)
        answer = await s.post(b'{"a": 1}', "/function/echo/x/y?q=1", headers="Content-Type: application/json\r\n")
        call = await instance.call()
        assert (answer.status, answer.body) == (200, b'{"a": 1}')
        assert (call.method, call.target) == ("POST", "/x/y?q=1")
        assert call.header("content-type") == "application/json"
        assert 0 < call.remaining_ms <= 60_000
        assert answer.header("server") == "corral"
        assert answer.header("date")
        assert answer.header("x-request-id") == call.header("x-request-id")
        await s.settled()

    play(tmp_path, scene, run=run)


def test_small_request_is_one_write_of_head_and_body(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy(), echo)
        await s.post(b"abc")
        await s.get()
        kinds = [(f.kind, f.flags) for f in instance.frames if f.call]
        assert kinds == [(wire.HEAD, 0), (wire.BODY, wire.LAST), (wire.HEAD, wire.LAST)]

    play(tmp_path, scene)


def test_function_sees_forwarding_headers_and_not_those_of_the_hop(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy(), echo)
        await s.get(
            headers="X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nForwarded: for=6.6.6.6\r\n"
            "X-Corral-Instance: me\r\nConnection: keep-alive, X-Private\r\nX-Private: 1\r\nTE: trailers\r\n"
            "Keep-Alive: 5\r\nProxy-Authorization: x\r\nX-Mine: yes\r\n"
        )
        call = await instance.call()
        headers = dict(call.headers)
        assert headers.pop("x-request-id")
        assert headers.pop("traceparent")
        assert headers == {
            "host": "h", "x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http", "x-forwarded-host": "h",
            "x-mine": "yes",
        }  # fmt: skip
        assert len(call.headers) == len(set(name for name, _ in call.headers))

    play(tmp_path, scene)


@pytest.mark.parametrize("given, kept", [("abc-1.2:3", True), ("a b", False), ("x" * 129, False), ("", False)])
def test_request_id_is_kept_when_sane(tmp_path: Path, given: str, kept: bool) -> None:
    async def scene(s: Stage) -> None:
        await s.instance(s.deploy(), echo)
        answer = await s.get(headers=f"X-Request-Id: {given}\r\n")
        assert (answer.header("x-request-id") == given) is kept
        assert answer.header("x-request-id")

    play(tmp_path, scene)


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    "given, kept",
    [
        (TRACE, True),
        (TRACE.upper(), False),
        ("ff" + TRACE[2:], False),
        ("00-" + "0" * 32 + TRACE[35:], False),
        (TRACE[:36] + "0" * 16 + "-01", False),
        ("nonsense", False),
    ],
)
def test_traceparent_goes_on_when_valid_else_a_new_one_begins(tmp_path: Path, given: str, kept: bool) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy(), echo)
        await s.get(headers=f"traceparent: {given}\r\ntracestate: a=b\r\n")
        call = await instance.call()
        sent = call.header("traceparent")
        assert sent is not None and len(sent) == 55
        assert (sent == given) is kept
        assert (call.header("tracestate") == "a=b") is kept

    play(tmp_path, scene)


def test_head_gets_the_length_and_no_body(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        await s.instance(s.deploy(), lambda call: call.answer(b"12345"))
        client = await s.client()
        client.send(b"HEAD /function/echo HTTP/1.1\r\nHost: h\r\n\r\n" + b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        first = await client.response("HEAD")
        assert (first.status, first.header("content-length"), first.body) == (200, "5", b"")
        assert (await client.response()).body == b"ok\n"

    play(tmp_path, scene)


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_body_have_none(tmp_path: Path, status: int) -> None:
    async def scene(s: Stage) -> None:
        await s.instance(s.deploy(), lambda call: call.answer(b"surplus", status))
        client = await s.client()
        client.send(b"GET /function/echo HTTP/1.1\r\nHost: h\r\n\r\nGET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        first = await client.response()
        assert (first.status, first.header("content-length")) == (status, None)
        assert (await client.response()).body == b"ok\n"

    play(tmp_path, scene)


def test_answer_in_parts_is_chunked_in_order(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy())
        asked = asyncio.ensure_future(s.get())
        call = await instance.call()
        call.ack()
        call.head()
        for part in (b"one ", b"two ", b"three"):
            call.part(part)
        call.part(b"", last=True)
        answer = await asked
        assert (answer.header("transfer-encoding"), answer.body) == ("chunked", b"one two three")
        await s.settled()

    play(tmp_path, scene)


def test_http_1_0_client_gets_its_body_up_to_the_end_of_the_connection(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy())
        client = await s.client()
        client.send(b"GET /function/echo HTTP/1.0\r\n\r\n")
        call = await instance.call()
        call.head()
        call.part(b"old ")
        call.part(b"times", last=True)
        answer = await client.response()
        assert (answer.header("connection"), answer.body) == ("close", b"old times")

    play(tmp_path, scene)


def test_raising_function_is_a_500_with_id(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        await s.instance(s.deploy(), lambda call: call.raises("ValueError: no such thing"))
        answer = await s.get()
        assert answer.status == 500
        assert answer.error == {"code": "function_failed", "message": "the function raised ValueError: no such thing"}
        assert json.loads(answer.body)["request_id"] == answer.header("x-request-id")
        await s.settled()

    play(tmp_path, scene)


def test_failure_after_the_head_cuts_the_connection(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy())
        client = await s.client()
        client.send(b"GET /function/echo HTTP/1.1\r\nHost: h\r\n\r\n")
        call = await instance.call()
        call.head()
        call.part(b"half")
        await client.reader.readuntil(b"half\r\n")
        call.raises("ValueError: late")
        assert b"0\r\n\r\n" not in await client.closed()
        await s.settled()

    play(tmp_path, scene)


SPLITTING = {
    "CRLF in a value": b"x: a\r\n\r\nHTTP/1.1 200 OK\r\n",
    "bare LF": b"x: a\ny: b\r\n",
    "bare CR": b"x: a\ry: b\r\n",
    "NUL": b"x: a\0b\r\n",
    "no colon": b"nonsense\r\n",
    "space before colon": b"x : a\r\n",
    "no end of line": b"x: a",
    "folded": b"x: a\r\n b\r\n",
    "empty name": b": a\r\n",
}


@pytest.mark.parametrize("lines", SPLITTING.values(), ids=SPLITTING.keys())
def test_response_that_could_split_is_a_502(tmp_path: Path, lines: bytes) -> None:
    async def scene(s: Stage) -> None:
        await s.instance(s.deploy(), lambda call: call.answer(b"x", 200, lines))
        answer = await s.get()
        assert (answer.status, answer.error["code"]) == (502, "bad_response")
        await s.settled()

    play(tmp_path, scene)


@pytest.mark.parametrize("status", [0, 99, 100, 101, 199, 600, 999])
def test_status_that_is_no_final_one_is_a_502(tmp_path: Path, status: int) -> None:
    async def scene(s: Stage) -> None:
        await s.instance(s.deploy(), lambda call: call.answer(b"x", status))
        answer = await s.get()
        assert (answer.status, answer.error["code"]) == (502, "bad_response")

    play(tmp_path, scene)


def test_function_cannot_set_what_is_the_gateways(tmp_path: Path) -> None:
    lines = (
        b"Content-Length: 99\r\nTransfer-Encoding: chunked\r\nConnection: close\r\nServer: evil\r\nDate: never\r\n"
        b"X-Request-Id: other\r\nX-Corral-Instance: other\r\nKeep-Alive: 9\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
    )

    async def scene(s: Stage) -> None:
        await s.instance(s.deploy(), lambda call: call.answer(b"x", 200, lines))
        answer = await s.get()
        names = [name for name, _ in answer.headers]
        assert sorted(names) == ["content-length", "date", "server", "set-cookie", "set-cookie", "x-request-id"]
        assert answer.header("server") == "corral" and answer.header("content-length") == "1"

    play(tmp_path, scene)


def test_timing_says_where_a_cold_call_spent_its_time(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy()
        asked = asyncio.ensure_future(s.get(headers="Corral-Debug: timing\r\n"))
        await s.engine.hear(link.Want)
        await s.instance(revision, echo)
        cold = await asked
        warm = await s.get(headers="Corral-Debug: timing\r\n")
        plain = await s.get()
        assert cold.header("x-corral-cold") == "1" and warm.header("x-corral-cold") is None
        assert cold.header("x-corral-instance") == "i0"
        timing = cold.header("server-timing") or ""
        parts = {name: float(value) for name, value in (p.split(";dur=") for p in timing.split(", "))}
        assert parts.keys() == {"queue", "cold", "function"} and parts["cold"] > 0
        assert plain.header("server-timing") is None

    play(tmp_path, scene)


def test_held_call_is_sent_before_its_instance_is_ready(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy()
        asked = asyncio.ensure_future(s.post(b"early"))
        want = await s.engine.hear(link.Want)
        assert (want.waiting, want.executing) == (1, 0) and want.waited > 0
        instance = await s.instance(revision, ready=None)
        call = await instance.call()
        assert call.body == b"early"
        assert s.engine.all(link.Ready) == []
        instance.ready = {
            "style": "handle",
            "is_async": False,
            "concurrency": 1,
            "stamps": {"loaded": monotonic(), "x": 1.0},
        }
        instance.say_ready()
        call.answer(b"done")
        assert (await asked).body == b"done"
        ready = await s.engine.hear(link.Ready)
        assert ready.style == "handle" and ready.stamps.keys() == {"loaded", "ready"}

    play(tmp_path, scene)


def test_waits_for_a_socket_that_refuses_yet(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        late = await s.instance(s.deploy(), echo, listens=False)
        asked = asyncio.ensure_future(s.get())
        await s.until(lambda: s.calls_in_pools() == 1)
        await late.listen()
        assert (await asked).status == 200

    play(tmp_path, scene)


def test_concurrency_of_one_runs_one_call_at_a_time(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy())
        asked = [asyncio.ensure_future(s.get(f"/function/echo/{n}")) for n in range(5)]
        for n in range(1, 6):
            call = await instance.call(n)
            assert len(instance.calls) == n
            call.answer()
        assert [(await a).status for a in asked] == [200] * 5
        await s.settled()

    play(tmp_path, scene)


def test_full_queue_is_a_429_with_retry_after(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy(queue=1))
        first = asyncio.ensure_future(s.get())
        call = await instance.call()
        second = asyncio.ensure_future(s.get())
        await s.until(lambda: s.calls_in_pools() == 2)
        third = await s.get()
        assert (third.status, third.error["code"], third.header("retry-after")) == (429, "queue_full", "1")
        call.answer()
        (await instance.call(2)).answer()
        assert (await first).status == (await second).status == 200

    play(tmp_path, scene)


def test_call_without_instance_is_a_503_after_its_hold(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        s.deploy(hold_s=0.1)
        answer = await s.get()
        assert (answer.status, answer.error["code"]) == (503, "start_timeout")
        assert answer.header("retry-after") == "1"
        await s.settled()

    play(tmp_path, scene)


def test_held_call_is_told_at_its_limit_that_the_machine_is_full(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy(hold_s=0.1)
        s.engine.say(link.Queued(revision.id, "the memory is full"))
        answer = await s.get()
        assert (answer.status, answer.header("retry-after")) == (503, "1")
        assert answer.error["message"].endswith("its limit: the memory is full")
        s.engine.say(link.Queued(revision.id, ""))
        assert (await s.get()).error["message"].endswith("its limit")

    play(tmp_path, scene)


def test_unknown_function_is_a_404(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        answer = await s.get("/function/nope")
        assert (answer.status, answer.error["message"]) == (404, "function default/nope does not exist")
        assert (await s.get("/elsewhere")).status == 404
        assert (await s.get("/function/")).status == 404

    play(tmp_path, scene)


def test_body_above_the_limit_is_a_413_before_it_is_sent(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy(body_max_mib=0.001), echo)
        client = await s.client()
        client.send(b"POST /function/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000\r\n\r\n")
        answer = await client.response()
        assert (answer.status, answer.error["code"]) == (413, "body_too_large")
        assert (await s.post(b"x" * 1048)).status == 200
        assert (await s.post(b"x" * 1049)).status == 413
        assert len(instance.calls) == 1

    play(tmp_path, scene)


@pytest.mark.parametrize("body_max_mib, size, sent_on", [(0.001, 512, 0), (0.2, 100_000, 1)])
def test_chunked_body_above_the_limit_is_a_413_and_cancels(
    tmp_path: Path, body_max_mib: float, size: int, sent_on: int
) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy(body_max_mib=body_max_mib))
        client = await s.client()
        client.send(b"POST /function/echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        for n in range(3):
            client.send(b"%x\r\n%b\r\n" % (size, b"x" * size))
            if n == 1:
                await s.until(lambda: len(instance.calls) == sent_on)
        answer = await client.response()
        assert (answer.status, answer.error["code"]) == (413, "body_too_large")
        assert len(instance.calls) == sent_on
        for call in instance.calls:
            await call.until(lambda c: c.cancelled)
            call.raises("cancelled")
        await s.settled()

    play(tmp_path, scene)


def test_small_body_is_collected_before_an_instance_is_taken(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy(), echo)
        slow = await s.client()
        slow.send(b"POST /function/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab")
        assert (await s.get()).status == 200
        assert len(instance.calls) == 1
        slow.send(b"cd")
        assert (await slow.response()).body == b"abcd"

    play(tmp_path, scene)


@pytest.mark.parametrize(
    "framing, first, rest",
    [
        (b"Transfer-Encoding: chunked", b"2\r\nab\r\n", b"2\r\ncd\r\n0\r\n\r\n"),
        (b"Content-Length: 4\r\nExpect: 100-continue", b"ab", b"cd"),
        (b"Content-Length: 70000", b"a" * 60_000, b"b" * 10_000),
    ],
    ids=["chunked", "continued", "large"],
)
def test_no_instance_is_taken_by_the_beginning_of_a_body(
    tmp_path: Path, framing: bytes, first: bytes, rest: bytes
) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy(), lambda call: call.answer(b"%d bytes" % len(call.body)))
        slow = await s.client()
        slow.send(b"POST /function/echo HTTP/1.1\r\nHost: h\r\n" + framing + b"\r\n\r\n" + first)
        assert (await s.get()).status == 200
        assert len(instance.calls) == 1
        slow.send(rest)
        answer = await slow.response()
        if answer.status == 100:
            answer = await slow.response()
        assert answer.body in (b"4 bytes", b"70000 bytes")

    play(tmp_path, scene)


def test_body_that_is_whole_only_after_the_deadline_is_sent_nowhere(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy())
        slow = await s.client()
        await s.send_earlier(slow, b"POST /function/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\na", 60.1)
        slow.send(b"b")
        answer = await slow.response()
        assert (answer.status, answer.error["code"]) == (408, "body_timeout")
        assert instance.calls == [] and s.engine.all(link.Overrun) == []

    play(tmp_path, scene)


def test_large_bodies_stream_both_ways_whole(tmp_path: Path) -> None:
    body = bytes(range(256)) * 8192

    def take(call: Taken) -> None:
        call.ack()
        call.head()
        for start in range(0, 200_000, 50_000):
            call.part(call.body[start : start + 50_000])
        call.part(b"!", last=True)

    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy())
        asked = asyncio.ensure_future(s.post(body))
        await s.until(lambda: bool(instance.calls))
        call = instance.calls[0]
        credited = wire.WINDOW
        call.ack()
        while not call.whole:
            had = len(call.body)
            await call.until(lambda c, had=had: len(c.body) > had or c.whole)  # type: ignore[misc]
            assert len(call.body) <= credited
            if len(call.body) == credited:
                call.credit(100_000)
                credited += 100_000
        assert call.body == body
        take(call)
        answer = await asked
        assert answer.body == body[:200_000] + b"!"
        await s.settled()

    play(tmp_path, scene)


def test_client_is_not_read_while_the_instance_gives_no_credit(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy(body_max_mib=64))
        client = await s.client()
        client.send(b"POST /function/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 33554432\r\n\r\n")
        client.send(b"x" * 33_554_432)
        door = await _door(s)
        await s.until(lambda: not door._reading)
        call = instance.calls[0]
        await call.until(lambda c: len(c.body) == wire.WINDOW)
        assert door._taker is not None
        # One window and at most one read beyond it.
        assert len(door._taker.pending) <= 2 * wire.WINDOW + 65536  # type: ignore[attr-defined]

    play(tmp_path, scene)


async def _door(s: Stage):  # type: ignore[no-untyped-def]
    await s.until(lambda: bool(s.gateway.doors.connections))
    return next(iter(s.gateway.doors.connections))


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        pytest.param(wire.CREDIT, struct.pack("!I", 2**31), id="credit beyond the window"),
        pytest.param(wire.CREDIT, struct.pack("!I", 0), id="credit of nothing"),
        pytest.param(wire.READY, b"{}", id="READY for a call"),
        pytest.param(wire.BODY, b"x", id="BODY before HEAD"),
    ],
)
def test_instance_that_breaks_the_rules_is_given_up_with_its_call(tmp_path: Path, kind: int, payload: bytes) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy())
        asked = asyncio.ensure_future(s.post(b"x"))
        call = await instance.call()
        call.peer.send(kind, 0, call.number, payload)
        assert (await asked).status == 502
        assert (await s.engine.hear(link.Overrun)).instance == instance.id
        await s.settled()

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("kind", "number", "count"),
    [
        pytest.param(wire.ACK, 1, 2, id="a second ACK"),
        pytest.param(wire.ACK, 4_000_000, 1, id="a call that was never sent"),
        pytest.param(wire.END, 0, 1, id="the end of an earlier call there was not"),
        pytest.param(wire.READY, 0, 1, id="a second READY"),
        pytest.param(wire.HELLO, 0, 1, id="a second HELLO"),
        pytest.param(wire.CODE, 0, 1, id="CODE after READY"),
    ],
)
def test_frames_that_may_come_only_once_do_not_flood(tmp_path: Path, kind: int, number: int, count: int) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy())
        asked = asyncio.ensure_future(s.post(b"x"))
        call = await instance.call()
        for _ in range(count):
            call.peer.send(kind, 0, number, b"")
        assert (await asked).status == 502
        await s.settled()

    play(tmp_path, scene)


def test_json_as_deep_as_a_well_ends_the_instance_and_nothing_else(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy(), ready=None)
        asked = asyncio.ensure_future(s.post(b"x"))
        call = await instance.call()
        call.peer.send(wire.HELLO, 0, 0, b"[" * 60_000)
        await s.engine.hear(link.Overrun)
        await s.instance(s.deploy(), echo)
        assert (await asked).status in (200, 502)
        await s.settled()

    play(tmp_path, scene)


def test_instance_that_ignores_its_window_cannot_fill_the_gateway(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy())
        client = await s.client()
        client.send(b"GET /function/echo HTTP/1.1\r\nHost: h\r\n\r\n")
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        call = await instance.call()
        call.ack()
        call.head()
        for _ in range(1000):
            call.part(b"x" * 60_000)
        await s.engine.hear(link.Overrun)
        assert all(door._transport.get_write_buffer_size() < 2 * wire.WINDOW for door in s.gateway.doors.connections)
        await s.settled()

    play(tmp_path, scene)


def test_client_that_does_not_read_bounds_what_the_instance_may_send(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy())
        client = await s.client()
        client.writer.transport.pause_reading()
        client.send(b"GET /function/echo HTTP/1.1\r\nHost: h\r\n\r\n")
        call = await instance.call()
        call.ack()
        call.head()
        allowed, sent = wire.WINDOW, 0
        door = await _door(s)
        # Send while there is credit; with a client that reads nothing it dries up.
        while True:
            credit = sum(int.from_bytes(f.payload, "big") for f in instance.frames if f.kind == wire.CREDIT)
            if sent >= allowed + credit:
                if not door._writer.is_writable:
                    break
                await asyncio.sleep(0)
                continue
            part = min(32_768, allowed + credit - sent)
            call.part(b"y" * part)
            sent += part
            await asyncio.sleep(0)
        assert door._transport.get_write_buffer_size() <= 2 * wire.WINDOW
        seen = len(instance.frames)
        client.writer.transport.resume_reading()
        reading = asyncio.ensure_future(client.response())
        await s.until(lambda: len(instance.frames) > seen)
        assert instance.frames[-1].kind == wire.CREDIT
        call.part(b"end", last=True)
        answer = await reading
        assert len(answer.body) == sent + 3
        await s.settled()

    play(tmp_path, scene)


def test_expect_continue_is_answered_only_for_a_call_that_may_come(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        await s.instance(s.deploy(body_max_mib=0.001), echo)
        client = await s.client()
        head = b"POST /function/%b HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
        client.send(head % (b"echo", 3))
        assert (await client.response()).status == 100
        client.send(b"abc")
        assert (await client.response()).body == b"abc"
        for name, size, status in ((b"nope", 3, 404), (b"echo", 5000, 413)):
            refused = await s.client()
            refused.send(head % (name, size))
            assert (await refused.response()).status == status

    play(tmp_path, scene)


def test_client_that_leaves_cancels_and_its_slot_stays_taken_until_the_end(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy())
        client = await s.client()
        client.send(b"GET /function/echo HTTP/1.1\r\nHost: h\r\n\r\n")
        call = await instance.call()
        call.ack()
        await client.close()
        await call.until(lambda c: c.cancelled)
        next_one = asyncio.ensure_future(s.get())
        await s.until(lambda: s.calls_in_pools() == 2)
        assert len(instance.calls) == 1
        call.answer()
        (await instance.call(2)).answer(b"second")
        assert (await next_one).body == b"second"
        await s.settled()

    play(tmp_path, scene)


def test_held_call_whose_client_leaves_is_forgotten(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        s.deploy()
        client = await s.client()
        client.send(b"GET /function/echo HTTP/1.1\r\nHost: h\r\n\r\n")
        await s.until(lambda: s.calls_in_pools() == 1)
        await client.close()
        await s.settled()

    play(tmp_path, scene)


# -- lost instances -----------------------------------------------------------------------------------------


def test_call_that_was_not_begun_is_carried_out_elsewhere_once(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy(concurrency=2)
        first = await s.instance(revision)
        asked = asyncio.ensure_future(s.post(b"precious"))
        await first.call()
        second = await s.instance(revision, echo)
        await s.until(lambda: len(s.gateway.activator.instances) == 2)
        first.die()
        assert (await asked).body == b"precious"
        assert len(second.calls) == 1
        assert (await s.engine.hear(link.Dropped)).instance == first.id
        await s.settled()

    play(tmp_path, scene)


def test_call_a_serial_instance_left_in_its_socket_is_carried_out_elsewhere(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy()
        first = await s.instance(revision)
        await s.engine.hear(link.Ready)
        assert first.peer is not None
        first.peer.transport.pause_reading()
        asked = asyncio.ensure_future(s.post(b"precious"))
        await s.until(lambda: s.gateway.activator.instances[first.id].connection.in_flight == 1)
        second = await s.instance(revision, echo)
        await s.until(lambda: len(s.gateway.activator.instances) == 2)
        first.die()
        assert (await asked).body == b"precious"
        assert (first.calls, len(second.calls)) == ([], 1)
        await s.settled()

    play(tmp_path, scene)


def test_call_a_serial_instance_took_out_of_its_socket_is_not_repeated(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy()
        first = await s.instance(revision)
        asked = asyncio.ensure_future(s.post(b"precious"))
        await first.call()
        second = await s.instance(revision, echo)
        await s.until(lambda: len(s.gateway.activator.instances) == 2)
        first.die()
        assert (await asked).status == 502
        assert second.calls == []
        await s.settled()

    play(tmp_path, scene)


def test_call_that_was_begun_ends_with_the_keepers_cause(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy()
        first = await s.instance(revision)
        asked = asyncio.ensure_future(s.get())
        (await first.call()).ack()
        second = await s.instance(revision, echo)
        first.die()
        await s.engine.hear(link.Dropped)
        s.engine.say(link.Gone(first.id, ExitCause.OUT_OF_MEMORY, "out of memory: it had 256 MiB"))
        answer = await asked
        assert (answer.status, answer.error["code"]) == (502, "instance_lost")
        assert "out of memory: it had 256 MiB" in answer.error["message"]
        assert second.calls == []
        await s.settled()

    play(tmp_path, scene)


def test_without_a_cause_the_caller_hears_in_general_words_soon(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        first = await s.instance(s.deploy())
        asked = asyncio.ensure_future(s.get())
        (await first.call()).ack()
        first.die()
        async with asyncio.timeout(2):
            answer = await asked
        assert answer.error["message"] == "the instance ended while it held the call"

    play(tmp_path, scene)


def test_call_is_tried_three_times_at_most(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy(concurrency=2)
        asked = asyncio.ensure_future(s.get())
        for n in range(3):
            instance = await s.instance(revision)
            await instance.call()
            instance.die()
            await s.engine.hear(link.Dropped, n + 1)
        assert (await asked).status == 502
        await s.settled()

    play(tmp_path, scene)


def test_failed_load_answers_held_calls_at_once(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy()
        asked = [asyncio.ensure_future(s.get()) for _ in range(3)]
        await s.until(lambda: s.calls_in_pools() == 3)
        instance = await s.instance(revision, ready=None)
        await instance.call()
        assert instance.peer is not None
        instance.peer.send(wire.FAILED, 0, 0, b'{"error": "app.py: no module named x", "traceback": "Trace"}')
        for answer in [await a for a in asked]:
            assert (answer.status, answer.error["code"]) == (502, "load_failed")
            assert answer.error["message"] == UNLOADED
        failed = await s.engine.hear(link.Failed)
        assert (failed.instance, failed.traceback) == (instance.id, "Trace")
        await s.settled()

    play(tmp_path, scene)


@pytest.mark.parametrize("kind, status, said", [("load", 502, UNLOADED), ("start", 503, "it cannot be")])
def test_block_refuses_until_it_is_lifted(tmp_path: Path, kind: str, status: int, said: str) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy()
        until = asyncio.get_running_loop().time() + 1000
        s.engine.say(link.Block(revision.id, "it cannot be", until, kind))
        answer = await s.get()
        assert (answer.status, answer.error["message"]) == (status, said)
        s.engine.say(link.Block(revision.id, "", 0.0, kind))
        await s.instance(revision, echo)
        assert (await s.get()).status == 200

    play(tmp_path, scene)


BROKEN = {
    "unknown kind": (99, 0, b""),
    "body before head": (wire.BODY, 0, b"x"),
    "credit of three bytes": (wire.CREDIT, 0, b"abc"),
    "cancel from an instance": (wire.CANCEL, 0, b""),
}


@pytest.mark.parametrize("kind, flags, payload", BROKEN.values(), ids=BROKEN.keys())
def test_instance_that_breaks_the_rules_is_killed(tmp_path: Path, kind: int, flags: int, payload: bytes) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy())
        asked = asyncio.ensure_future(s.get())
        call = await instance.call()
        call.ack()
        call.peer.send(kind, flags, call.number, payload)
        assert (await asked).status == 502
        assert (await s.engine.hear(link.Overrun)).instance == instance.id
        assert (await s.engine.hear(link.Dropped)).instance == instance.id
        await s.settled()

    play(tmp_path, scene)


# -- deadlines ----------------------------------------------------------------------------------------------


def test_timeout_is_a_504_and_ends_an_instance_of_one_call_at_once(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy(timeout_s=0.1))
        asked = asyncio.ensure_future(s.get())
        (await instance.call()).ack()
        answer = await asked
        assert (answer.status, answer.error["code"]) == (504, "call_timeout")
        assert (await s.engine.hear(link.Overrun)).instance == instance.id
        await s.settled()

    play(tmp_path, scene)


def test_deadline_counts_from_the_head_although_the_body_came_slowly(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy(concurrency=10))
        slow = await s.client()
        await s.send_earlier(slow, b"POST /function/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\na", 30)
        other = asyncio.ensure_future(s.get())
        (await instance.call()).ack()
        slow.send(b"b")
        late = await instance.call(2)
        assert late.remaining_ms <= 30_000
        s.pass_deadline()
        assert (await slow.response()).status == 504
        assert not other.done()
        instance.calls[0].answer()
        assert (await other).status == 200

    play(tmp_path, scene)


def test_other_calls_of_an_overrun_instance_get_their_grace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral.gateway.instance.GRACE_S", 0.05)

    async def scene(s: Stage) -> None:
        revision = s.deploy(concurrency=10)
        instance = await s.instance(revision)
        stuck = asyncio.ensure_future(s.get("/function/echo/stuck"))
        (await instance.call(1)).ack()
        others = [asyncio.ensure_future(s.get("/function/echo/other")) for _ in range(2)]
        for n in (2, 3):
            (await instance.call(n)).ack()
        s.pass_deadline()
        assert (await stuck).status == 504
        assert s.engine.all(link.Overrun) == []
        instance.calls[1].answer(b"in time")
        answers = [await other for other in others]
        assert sorted(a.status for a in answers) == [200, 502]
        lost = next(a for a in answers if a.status == 502)
        assert lost.error["message"].endswith("instance ended by another call")
        assert len(s.engine.all(link.Overrun)) == 1
        await s.settled()

    play(tmp_path, scene)


def test_call_that_ends_when_cancelled_at_its_deadline_leaves_its_neighbours_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corral.gateway.instance.GRACE_S", 0.02)

    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy(concurrency=10))
        slow = asyncio.ensure_future(s.get("/function/echo/slow"))
        (await instance.call()).ack()
        other = asyncio.ensure_future(s.get("/function/echo/other"))
        (await instance.call(2)).ack()
        s.pass_deadline()
        await instance.calls[0].until(lambda call: call.cancelled)
        instance.calls[0].raises("Cancelled: cancelled")
        assert (await slow).status == 504
        await asyncio.sleep(0.05)
        assert s.engine.all(link.Released) == []
        instance.calls[1].answer(b"whole")
        assert (await other).body == b"whole"
        assert (await s.engine.hear(link.Released)).instance == instance.id
        assert s.engine.all(link.Overrun) == []
        await s.settled()

    play(tmp_path, scene)


def test_call_alone_may_end_when_cancelled_at_its_deadline(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy(concurrency=10))
        asked = asyncio.ensure_future(s.get())
        (await instance.call()).ack()
        s.pass_deadline()
        assert (await asked).status == 504
        instance.calls[0].raises("Cancelled: cancelled")
        assert (await s.engine.hear(link.Released)).instance == instance.id
        assert s.engine.all(link.Overrun) == []

    play(tmp_path, scene)


def test_call_alone_that_does_not_end_when_cancelled_is_killed_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corral.gateway.instance.CANCEL_S", 0.02)

    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy(concurrency=10))
        asked = asyncio.ensure_future(s.get())
        (await instance.call()).ack()
        s.pass_deadline()
        assert (await asked).status == 504
        assert (await s.engine.hear(link.Overrun)).instance == instance.id
        await s.settled()

    play(tmp_path, scene)


@pytest.mark.parametrize("concurrency", [1, 10])
def test_slow_sender_whose_deadline_passes_does_not_end_an_instance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, concurrency: int
) -> None:
    monkeypatch.setattr("corral.gateway.instance.GRACE_S", 0.02)

    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy(concurrency=concurrency))
        slow = await s.client()
        slow.send(b"POST /function/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + b"x" * 90_000)
        await s.until(lambda: len(instance.calls) == 1)
        s.pass_deadline()
        answer = await slow.response()
        assert (answer.status, answer.error["code"]) == (408, "body_timeout")
        assert answer.error["message"] == "the request's body was not whole within the function's timeout of 60 s"
        (cancelled,) = instance.calls
        await cancelled.until(lambda call: call.cancelled)
        cancelled.raises("Cancelled: cancelled before it began")
        asked = asyncio.ensure_future(s.get())
        await asyncio.sleep(0.05)
        (await instance.call(2)).answer()
        assert (await asked).status == 200
        assert s.engine.all(link.Overrun) == []
        await s.settled()

    play(tmp_path, scene)


def test_answer_that_breaks_off_does_not_count_as_a_good_one(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy())
        client = await s.client()
        client.send(b"GET /function/echo HTTP/1.1\r\nHost: h\r\n\r\n")
        call = await instance.call()
        call.head(200)
        call.part(b"first")
        await client.reader.readuntil(b"first")
        call.raises("ValueError: late")
        assert b"0\r\n\r\n" not in await client.closed()
        told = "".join(s.gateway.stats.lines())
        assert 'corral_calls_total{namespace="default",function="echo",status="cut"} 1' in told
        assert 'function="echo",status="2xx"} 0' in told
        await s.settled()

    play(tmp_path, scene)


def test_overrun_is_said_again_to_an_engine_that_was_away(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy())
        asked = asyncio.ensure_future(s.get())
        (await instance.call()).ack()
        await s.engine.stop()
        s.pass_deadline()
        assert (await asked).status == 504
        await s.engine.start()
        assert (await s.engine.hear(link.Overrun)).instance == instance.id

    play(tmp_path, scene)


def test_limits_hold_for_many_small_timeouts_in_order(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        s.deploy(timeout_s=0.1, hold_s=60)
        answers = await asyncio.wait_for(_all([s.get() for _ in range(20)]), 2)
        assert {a.status for a in answers} <= {503, 504}
        await s.settled()

    play(tmp_path, scene, settings=GatewaySettings())


async def _all(coroutines):  # type: ignore[no-untyped-def]
    return [await task for task in [asyncio.ensure_future(c) for c in coroutines]]
