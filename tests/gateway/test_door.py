"""What a client may send, byte for byte, and what it gets: hostile heads, limits, pipelining, slowness."""

import asyncio
import random
from pathlib import Path
from time import monotonic

import pytest

from corral.config import Gateway as GatewaySettings

from .stage import Stage, Taken, echo, play

H = b"Host: h\r\n"
ECHO = b"/function/echo"


def get(target: bytes = ECHO, more: bytes = b"", host: bytes = H) -> bytes:
    return b"GET %b HTTP/1.1\r\n%b%b\r\n" % (target, host, more)


def post(more: bytes, body: bytes) -> bytes:
    return b"POST %b HTTP/1.1\r\n%b%b\r\n%b" % (ECHO, H, more, body)


TE = b"Transfer-Encoding: chunked\r\n"
CONNECTION_UPGRADE = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
HOSTILE = {
    "length beside chunked": post(b"Content-Length: 4\r\n" + TE, b"0\r\n\r\n"),
    "chunked beside length": post(TE + b"Content-Length: 4\r\n", b"0\r\n\r\n"),
    "two equal lengths": post(b"Content-Length: 4\r\nContent-Length: 4\r\n", b"abcd"),
    "two lengths": post(b"Content-Length: 4\r\nContent-Length: 5\r\n", b"abcde"),
    "length with sign": post(b"Content-Length: +4\r\n", b"abcd"),
    "negative length": post(b"Content-Length: -1\r\n", b""),
    "length list": post(b"Content-Length: 4, 4\r\n", b"abcd"),
    "length with space": post(b"Content-Length: 4 4\r\n", b"abcd"),
    "hexadecimal length": post(b"Content-Length: 0x4\r\n", b"abcd"),
    "empty length": post(b"Content-Length:\r\n", b""),
    "huge length": post(b"Content-Length: 99999999999999999999\r\n", b""),
    "unknown encoding": post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
    "chunked not last": post(b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"),
    "gzip then chunked": post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
    "chunked twice": post(TE + TE, b"0\r\n\r\n"),
    "encoding after tab": post(b"Transfer-Encoding:\tchunked, x\r\n", b"0\r\n\r\n"),
    "chunked on 1.0": b"POST /function/echo HTTP/1.0\r\n" + H + TE + b"\r\n0\r\n\r\n",
    "chunk size with 0x": post(TE, b"0x1\r\nx\r\n0\r\n\r\n"),
    "chunk size with underscore": post(TE, b"1_0\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n"),
    "chunk size with sign": post(TE, b"+1\r\nx\r\n0\r\n\r\n"),
    "chunk size overflow": post(TE, b"1ffffffffffffffff\r\nx\r\n0\r\n\r\n"),
    "chunk line with bare LF": post(TE, b"1\nx\r\n0\r\n\r\n"),
    "chunk extension with LF": post(TE, b"1;a\nb\r\nx\r\n0\r\n\r\n"),
    "chunk longer than said": post(TE, b"1\r\nxyz\r\n0\r\n\r\n"),
    "endless chunk extension": post(TE, b"1;" + b"a" * 600_000 + b"\r\nx\r\n0\r\n\r\n"),
    "endless trailer": post(TE, b"1\r\nx\r\n0\r\nT: " + b"a" * 600_000 + b"\r\n\r\n"),
    "bare LF": b"GET /function/echo HTTP/1.1\nHost: h\n\n",
    "bare LF after a header": b"GET /function/echo HTTP/1.1\r\nHost: h\nX: 1\r\n\r\n",
    "bare CR in a value": get(more=b"X: a\rY: b\r\n"),
    "NUL in a value": get(more=b"X: a\0b\r\n"),
    "control character in a value": get(more=b"X: a\x01b\r\n"),
    "folded line": get(more=b"X: a\r\n b\r\n"),
    "space before colon": get(more=b"X : a\r\n"),
    "header without colon": get(more=b"nonsense\r\n"),
    "empty header name": get(more=b": a\r\n"),
    "underscore in a name": get(more=b"X_Forwarded_For: a\r\n"),
    "no Host": get(host=b""),
    "two Hosts": get(more=b"Host: h\r\n"),
    "Host with a path": get(host=b"Host: h/x\r\n"),
    "Host with a user": get(host=b"Host: a@h\r\n"),
    "Host with a space": get(host=b"Host: a b\r\n"),
    "two Authorizations": get(more=b"Authorization: a\r\nAuthorization: b\r\n"),
    "absolute form of another host": get(b"http://other/function/echo"),
    "absolute form of another scheme": get(b"https://h/function/echo"),
    "authority form": get(b"h:80"),
    "asterisk": b"OPTIONS * HTTP/1.1\r\n" + H + b"\r\n",
    "dot segments": get(b"/function/echo/../../corral/v1/functions"),
    "dot segments to management": get(b"/function/../corral/v1/functions"),
    "encoded dot segments": get(b"/function/echo/%2e%2E/x"),
    "encoded slash": get(b"/function/echo%2fx"),
    "encoded backslash": get(b"/function/echo/%5cx"),
    "backslash": get(b"/function/echo\\x"),
    "encoded NUL": get(b"/function/echo/%00"),
    "encoded line end": get(b"/function/echo/%0d%0a"),
    "broken escape": get(b"/function/echo/%zz"),
    "escape cut short": get(b"/function/echo/%2"),
    "fragment": get(b"/function/echo#x"),
    "eight-bit target": get(b"/function/\xff"),
    "space in the target": get(b"/function/echo x"),
    "two spaces": b"GET  /function/echo HTTP/1.1\r\n" + H + b"\r\n",
    "tab": b"GET\t/function/echo HTTP/1.1\r\n" + H + b"\r\n",
    "lower-case method": b"get /function/echo HTTP/1.1\r\n" + H + b"\r\n",
    "HTTP/0.9": b"GET /function/echo\r\n\r\n",
    "HTTP/2.0": b"GET /function/echo HTTP/2.0\r\n" + H + b"\r\n",
    "HTTP/1.2": b"GET /function/echo HTTP/1.2\r\n" + H + b"\r\n",
    "another protocol": b"GET /function/echo RTSP/1.0\r\n" + H + b"\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "upgrade with a body": post(CONNECTION_UPGRADE + b"Content-Length: 2\r\n", b"ab"),
    "upgrade with chunks": post(CONNECTION_UPGRADE + TE, b"0\r\n\r\n"),
}


@pytest.mark.parametrize("sent", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_request_is_a_400_and_the_last_of_its_connection(tmp_path: Path, sent: bytes) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy(), echo)
        client = await s.client()
        client.send(sent + get())
        answer = await client.response()
        assert (answer.status, answer.error["code"]) == (400, "bad_request")
        assert answer.header("connection") == "close"
        assert answer.error["message"]
        assert await client.closed() == b""
        # What follows an error on a connection is never taken for a request.
        assert all(call.target != "/" or call.method == "POST" for call in instance.calls)
        for call in instance.calls:
            call.raises("over")
        await s.settled()

    play(tmp_path, scene)


SMALL = GatewaySettings(header_max_bytes=2000, header_max_count=10, target_max_bytes=500)
LIMITS = {
    "target": (get(b"/function/echo?" + b"q" * 500), 414),
    "target without end": (b"GET /" + b"a" * 600, 414),
    "headers": (get(more=b"X: " + b"a" * 2500 + b"\r\n"), 431),
    "headers without end": (b"GET / HTTP/1.1\r\nX: " + b"a" * 2600, 431),
    "header count": (get(more=b"X: a\r\n" * 10), 431),
    "CONNECT": (b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", 405),
    "TRACE": (b"TRACE /function/echo HTTP/1.1\r\nHost: h\r\n\r\n", 405),
    "another expectation": (post(b"Content-Length: 1\r\nExpect: 200-maybe\r\n", b"a"), 417),
}


@pytest.mark.parametrize("sent, status", LIMITS.values(), ids=LIMITS.keys())
def test_limits_have_their_own_statuses(tmp_path: Path, sent: bytes, status: int) -> None:
    async def scene(s: Stage) -> None:
        await s.instance(s.deploy(), echo)
        client = await s.client()
        client.send(sent)
        answer = await client.response()
        # CONNECT's target is no path, which is found first.
        assert answer.status in ((405, 400) if b"CONNECT" in sent else (status,))
        assert await client.closed() == b""

    play(tmp_path, scene, settings=SMALL)


ACCEPTED = {
    "plain": (get(), b"/"),
    "query": (get(b"/function/echo/a?b=%2F%00&c=/../"), b"/a?b=%2F%00&c=/../"),
    "double slashes merge": (get(b"/function//echo///a//b"), b"/a/b"),
    "escapes stay": (get(b"/function/echo/%41%20%c3%a9"), b"/%41%20%c3%a9"),
    "dots inside names": (get(b"/function/echo/.a/b..c/..."), b"/.a/b..c/..."),
    "absolute form of this host": (get(b"http://h/function/echo/x"), b"/x"),
    "absolute form in another case": (get(b"http://H/function/echo/x"), b"/x"),
    "namespace": (get(b"/function/echo.default/x"), b"/x"),
    "ignored upgrade": (
        get(more=b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"),
        b"/",
    ),
    "upgrade without Connection": (get(more=b"Upgrade: websocket\r\n"), b"/"),
    "line end before the request": (b"\r\n" + get(), b"/"),
    "HTTP/1.0 without Host": (b"GET /function/echo HTTP/1.0\r\n\r\n", b"/"),
    "chunk extension": (post(TE, b"3;a=b\r\nabc\r\n0\r\n\r\n"), b"abc"),
    "trailers": (post(TE, b"3\r\nabc\r\n0\r\nX-T: v\r\n\r\n"), b"abc"),
    "upper-case encoding": (post(b"Transfer-Encoding: Chunked\r\n", b"3\r\nabc\r\n0\r\n\r\n"), b"abc"),
    "eight-bit value": (get(more=b"X: \xe9\r\n"), b"/"),
    "IPv6 host": (get(host=b"Host: [::1]:8080\r\n"), b"/"),
    "empty value": (get(more=b"X:\r\n"), b"/"),
    "body of nothing": (post(b"Content-Length: 0\r\n", b""), b"/"),
    "chunks that look like ends": (post(TE, b"8\r\n\r\n0\r\n\r\n1\r\n0\r\n\r\n"), b"\r\n0\r\n\r\n1"),
}


@pytest.mark.parametrize("sent, body", ACCEPTED.values(), ids=ACCEPTED.keys())
@pytest.mark.parametrize("pieces", ["whole", "byte by byte"])
def test_good_request_is_carried_however_it_is_cut(tmp_path: Path, sent: bytes, body: bytes, pieces: str) -> None:
    async def scene(s: Stage) -> None:
        await s.instance(s.deploy(), echo)
        client = await s.client()
        if pieces == "whole":
            client.send(sent)
        else:
            await client.send_in_pieces(sent, 1)
        answer = await client.response()
        assert (answer.status, answer.body) == (200, body)
        if b"HTTP/1.0" not in sent:
            # The connection is still in step.
            client.send(get(b"/function/echo/next"))
            assert (await client.response()).body == b"/next"

    play(tmp_path, scene)


def test_pipelined_requests_are_answered_in_order_one_at_a_time(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy(concurrency=10))
        client = await s.client()
        client.send(
            b"".join(get(b"/function/echo/%d" % n) for n in range(5)) + post(TE, b"2\r\nhi\r\n0\r\n\r\n") + get()
        )
        for n in range(5):
            call = await instance.call(n + 1)
            assert (call.target, len(instance.calls)) == (f"/{n}", n + 1)
            call.answer(b"%d" % n)
            assert (await client.response()).body == b"%d" % n
        (await instance.call(6)).answer(b"posted")
        (await instance.call(7)).answer(b"last")
        assert [(await client.response()).body for _ in range(2)] == [b"posted", b"last"]

    play(tmp_path, scene)


def test_pipelining_reads_ahead_a_bounded_piece_only(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy())
        client = await s.client()
        many = 100_000
        client.send(get() * many)
        call = await instance.call()
        door = next(iter(s.gateway.doors.connections))
        await s.until(lambda: not door._reading)
        # The bound and at most one read beyond it.
        assert len(door._kept) <= 64 * 1024 + 256 * 1024
        assert len(instance.calls) == 1
        instance.behave = lambda later: later.answer(b"")
        call.answer(b"")
        for _ in range(2000):
            assert (await client.response()).status == 200

    play(tmp_path, scene)


def test_random_cuts_of_pipelined_traffic_change_nothing(tmp_path: Path) -> None:
    rng = random.Random(3)
    bodies = [bytes(rng.choices(b"\r\n0a", k=rng.randrange(60))) for _ in range(40)]
    stream = b""
    for n, body in enumerate(bodies):
        if n % 3 == 0:
            stream += post(b"Content-Length: %d\r\n" % len(body), body)
        elif body:
            cut = rng.randrange(len(body)) or len(body)
            chunks = [c for c in (body[:cut], body[cut:]) if c]
            stream += post(TE, b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in chunks) + b"0\r\n\r\n")
        else:
            stream += get()

    async def scene(s: Stage) -> None:
        await s.instance(s.deploy(), echo)
        client = await s.client()
        sending = asyncio.ensure_future(client.send_in_pieces(stream, lambda: rng.randrange(1, 200)))
        for body in bodies:
            assert (await client.response()).body == (body or b"/")
        await sending

    play(tmp_path, scene)


def test_answer_before_the_body_was_read_closes_after_it(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        client = await s.client()
        client.send(b"POST /function/nope HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 500_000)
        answer = await client.response()
        assert (answer.status, answer.header("connection")) == (404, "close")
        assert await client.closed() == b""

    play(tmp_path, scene)


def test_small_refused_body_leaves_the_connection_open(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        client = await s.client()
        for _ in range(2):
            client.send(b"POST /function/nope HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd")
            assert (await client.response()).status == 404

    play(tmp_path, scene)


@pytest.mark.parametrize(
    "head, stays",
    [
        (b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", True),
        (b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", False),
        (b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: x, CLOSE\r\n\r\n", False),
        (b"GET /healthz HTTP/1.0\r\n\r\n", False),
        (b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
    ],
)
def test_connection_stays_when_both_want_it(tmp_path: Path, head: bytes, stays: bool) -> None:
    async def scene(s: Stage) -> None:
        client = await s.client()
        client.send(head)
        assert (await client.response()).status == 200
        if stays:
            client.send(head)
            assert (await client.response()).status == 200
        else:
            assert await client.closed() == b""

    play(tmp_path, scene)


QUICK = GatewaySettings(header_timeout_s=0.08, body_idle_s=0.08, idle_s=0.4)
SLOW = {
    "head": (b"GET /function/echo HTTP/1.1\r\nHo", 408, "head_timeout"),
    "collected body": (post(b"Content-Length: 10\r\n", b"abc"), 408, "body_timeout"),
    "streamed body": (post(TE, b"3\r\nabc\r\n"), 408, "body_timeout"),
}


@pytest.mark.parametrize("sent, status, code", SLOW.values(), ids=SLOW.keys())
def test_slow_sender_gets_a_408(tmp_path: Path, sent: bytes, status: int, code: str) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy())
        client = await s.client()
        client.send(sent)
        answer = await client.response()
        assert (answer.status, answer.error["code"]) == (status, code)
        for call in instance.calls:
            await call.until(lambda c: c.cancelled)
            call.raises("cancelled")
        await s.settled()

    play(tmp_path, scene, settings=QUICK)


def test_drip_feeding_a_head_does_not_renew_its_time(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        client = await s.client()
        drip = asyncio.ensure_future(
            client.send_in_pieces(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000, 1, pause_s=0.01)
        )
        assert (await client.response()).status == 408
        drip.cancel()

    play(tmp_path, scene, settings=QUICK)


def test_drip_feeding_a_body_does_not_renew_its_time(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        client = await s.client()
        client.send(post(b"Content-Length: 10000\r\n", b""))
        drip = asyncio.ensure_future(client.send_in_pieces(b"x" * 10_000, 1, pause_s=0.01))
        answer = await client.response()
        assert (answer.status, answer.error["code"]) == (408, "body_timeout")
        drip.cancel()

    s = GatewaySettings(header_timeout_s=0.08, body_idle_s=0.08, body_rate_kib_s=4)
    play(tmp_path, scene, settings=s)


def test_idle_connection_is_closed_without_a_word(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        fresh, used = await s.client(), await s.client()
        used.send(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        await used.response()
        assert await fresh.closed() == b"" == await used.closed()
        await s.until(lambda: not s.gateway.doors.connections)

    play(tmp_path, scene, settings=QUICK)


def test_large_answer_to_a_new_connection_is_sent_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(s: Stage) -> None:
        page = "x" * 8_000_000
        monkeypatch.setattr(s.gateway.stats, "lines", lambda: iter([page]))
        client = await s.client()
        client.send(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n")
        await s.until(lambda: any(door._transport.get_write_buffer_size() for door in s.gateway.doors.connections))
        for door in s.gateway.doors.connections:
            door.sweep(monotonic())
        assert len((await client.response()).body) >= len(page)

    play(tmp_path, scene)


def test_client_that_never_reads_is_cut(tmp_path: Path) -> None:
    def flood(call: Taken) -> None:
        call.ack()
        call.head()
        for _ in range(4):
            call.part(b"z" * 65_000)
        call.part(b"", last=True)

    async def scene(s: Stage) -> None:
        await s.instance(s.deploy(), flood)
        client = await s.client()
        client.writer.transport.pause_reading()
        client.send(get() * 200)
        await s.until(lambda: bool(s.gateway.doors.connections))
        await s.until(lambda: not s.gateway.doors.connections)
        await s.settled()

    play(tmp_path, scene, settings=QUICK)


def test_connection_above_the_most_allowed_is_told_so(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        first, second = await s.client(), await s.client()
        first.send(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        second.send(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await first.response()).status == (await second.response()).status == 200
        third = await s.client()
        answer = await third.response()
        assert (answer.status, answer.error["code"]) == (503, "unavailable")
        assert await third.closed() == b""

    play(tmp_path, scene, settings=GatewaySettings(connections_max=2))


def test_many_half_open_heads_do_not_stop_a_good_client(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        await s.instance(s.deploy(), echo)
        slow = [await s.client() for _ in range(100)]
        for client in slow:
            client.send(b"GET /function/echo HTTP/1.1\r\nX: ")
        assert (await s.get()).status == 200

    play(tmp_path, scene)


def test_a_few_line_ends_before_a_request_are_passed_over_and_a_flood_is_refused(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        await s.instance(s.deploy(), echo)
        client = await s.client()
        client.send(b"\r\n\r\n" + get(b"/function/echo"))
        assert (await client.response()).status == 200
        flood = await s.client()
        flood.send(b"\r\n" * 500_000)
        answer = await flood.response()
        assert (answer.status, answer.error["message"]) == (400, "more than 16 bytes of line ends before a request")

    play(tmp_path, scene)
