"""One call at a time, several in threads, many on a loop: LAST comes exactly once for each."""

import struct

import pytest

from .keeper import ACK, BODY, CANCEL, CREDIT, END, ERROR, HEAD, LAST, WINDOW, Zygote

MEET = """
import threading
barrier = threading.Barrier(2, timeout=10)
def handler(event):
    barrier.wait()
    return event["n"]
"""

ASYNC_MEET = """
import asyncio
waiting = []
async def handler(event):
    if waiting:
        waiting.pop().set_result(None)
    else:
        future = asyncio.get_running_loop().create_future()
        waiting.append(future)
        await future
    return event["n"]
"""

STREAM = """
def handler(event):
    try:
        for n in range(100):
            yield b"x" * 65528
    finally:
        print("closed")
"""


@pytest.mark.parametrize(("source", "concurrency"), [(MEET, 2), (ASYNC_MEET, None)])
def test_two_calls_run_at_once(any_version: Zygote, source: str, concurrency: int | None) -> None:
    gateway = any_version.start(source, concurrency=concurrency).serve()
    calls = [gateway.begin(b'{"n": %d}' % n) for n in range(2)]
    assert [gateway.finish(call).body for call in calls] == [b"0", b"1"]


def test_many_calls_through_few_threads(plain: Zygote) -> None:
    gateway = plain.start("def handler(event): return event['n']", concurrency=4).serve()
    for start in range(0, 200, 4):
        calls = [gateway.begin(b'{"n": %d}' % n) for n in range(start, start + 4)]
        assert [gateway.finish(call).json() for call in calls] == list(range(start, start + 4))


DIE = "import os\ndef handler(event): os._exit(1)"


def test_acknowledged_before_the_function_begins(plain: Zygote) -> None:
    gateway = plain.start(DIE, concurrency=2).serve()
    call = gateway.begin(b"{}")
    assert gateway.next(call).kind == ACK
    with pytest.raises((EOFError, ConnectionResetError)):
        gateway.next(call)


# An answer that nobody reads fills the socket; the next call may not begin before its ACK is in there too.
FULL = """
import asyncio, os
async def handle(event, context):
    if event.path == "/big":
        os.write(1, b"big\\n")
        return b"x" * 262_000
    if event.path == "/wait":
        try:
            await asyncio.sleep(3600)
        finally:
            os.write(1, b"cancelled\\n")
    os.write(1, b"begun\\n")
    os._exit(1)
"""


def test_not_begun_while_its_acknowledgement_waits_for_a_slow_gateway(any_version: Zygote) -> None:
    instance = any_version.start(FULL)
    gateway = instance.serve()
    waiting = gateway.begin(target="/wait")
    assert gateway.next(waiting).kind == ACK
    gateway.begin(target="/big")
    instance.wait_log("big\n")
    call = gateway.begin()
    # Behind that call on the same connection, so what it prints says that the call was seen.
    gateway.send(CANCEL, 0, waiting)
    instance.wait_log("cancelled\n")
    assert gateway.next(call).kind == ACK
    with pytest.raises((EOFError, ConnectionResetError)):
        gateway.next(call)
    assert instance.log().endswith("cancelled\nbegun\n")


def test_call_cancelled_while_its_acknowledgement_waits_never_begins(plain: Zygote) -> None:
    instance = plain.start(FULL)
    gateway = instance.serve()
    waiting = gateway.begin(target="/wait")
    assert gateway.next(waiting).kind == ACK
    big = gateway.begin(target="/big")
    instance.wait_log("big\n")
    call = gateway.begin()
    gateway.send(CANCEL, 0, call)
    gateway.send(CANCEL, 0, waiting)
    instance.wait_log("cancelled\n")
    kinds = [gateway.next(call).kind for _ in range(2)]
    assert kinds == [ACK, END]
    assert len(gateway.finish(big).body) == 262_000
    assert "begun" not in instance.log()


def test_serial_instance_acknowledges_by_taking_the_call_out_of_its_socket(plain: Zygote) -> None:
    gateway = plain.start(DIE).serve()
    call = gateway.begin(b"{}")
    with pytest.raises(EOFError):
        gateway.next(call)


@pytest.mark.parametrize("concurrency", [1, 2])
def test_default_timeout_of_the_function_is_not_that_of_its_connection(plain: Zygote, concurrency: int) -> None:
    source = "import socket\nsocket.setdefaulttimeout(1e-6)\ndef handler(event): return 'hi'"
    gateway = plain.start(source, concurrency=concurrency).serve()
    assert [gateway.call().body for _ in range(5)] == [b"hi"] * 5


@pytest.mark.parametrize(("define", "concurrency"), [("def", 1), ("def", 3), ("async def", None)])
def test_stream_stops_at_the_window_and_ends_when_cancelled(
    plain: Zygote, define: str, concurrency: int | None
) -> None:
    instance = plain.start(STREAM.replace("def", define, 1), concurrency=concurrency)
    gateway = instance.serve()
    call = gateway.begin()
    if concurrency != 1:
        assert gateway.next(call).kind == ACK
    assert gateway.next(call).kind == HEAD
    received = sum(len(gateway.next(call).payload) for _ in range(WINDOW // 65_528))
    assert received <= WINDOW
    gateway.send(CREDIT, 0, call, struct.pack(">I", 65_528))
    assert gateway.next(call).kind == BODY
    gateway.send(CANCEL, 0, call)
    end = gateway.next(call)
    assert (end.kind, end.flags, end.payload[:9]) == (END, LAST | ERROR, b"Cancelled")
    assert "closed" in instance.log()
    # The instance is free again, and a late frame of the old call changes nothing.
    gateway.send(CREDIT, 0, call, struct.pack(">I", 1))
    second = gateway.begin()
    assert gateway.next(second).kind in (ACK, HEAD)


@pytest.mark.parametrize(("define", "concurrency"), [("def", 1), ("def", 3), ("async def", None)])
def test_call_cancelled_while_its_body_arrives_never_begins(
    plain: Zygote, define: str, concurrency: int | None
) -> None:
    instance = plain.start(f"{define} handler(event): print('ran')", concurrency=concurrency)
    gateway = instance.serve()
    call = gateway.begin(b"part", is_whole=False)
    gateway.send(CANCEL, 0, call)
    end = gateway.next(call)
    assert (end.kind, end.flags) == (END, LAST | ERROR)
    assert gateway.call().status == 200
    assert instance.log().count("ran") == 1


def test_cancelled_async_call_ends_at_its_next_await(any_version: Zygote) -> None:
    source = """
import asyncio
async def handler(event):
    print("begun")
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        print("cancelled")
        raise
"""
    instance = any_version.start(source)
    gateway = instance.serve()
    call = gateway.begin()
    assert gateway.next(call).kind == ACK
    gateway.send(CANCEL, 0, call)
    end = gateway.next(call)
    assert (end.kind, end.payload[:9]) == (END, b"Cancelled")


@pytest.mark.parametrize(("define", "concurrency"), [("def", 1), ("def", 3), ("async def", None)])
def test_exception_within_a_stream_is_an_error_after_what_was_sent(
    plain: Zygote, define: str, concurrency: int | None
) -> None:
    gateway = plain.start(f"{define} handler(event):\n  yield 'a'\n  raise ValueError('late')", concurrency=concurrency)
    answer = gateway.serve().call()
    assert (answer.status, answer.body, answer.error) == (200, b"a", "ValueError: late")


THREADED_WAIT = """
import threading
gate = threading.Event()
def handler(event):
    if event["wait"]:
        gate.wait(10)
    else:
        gate.set()
    return "done"
"""

ASYNC_WAIT = """
import asyncio
gate = asyncio.Event()
async def handler(event):
    if event["wait"]:
        await gate.wait()
    else:
        gate.set()
    return "done"
"""


@pytest.mark.parametrize(("source", "concurrency"), [(THREADED_WAIT, 4), (ASYNC_WAIT, None)])
def test_restarted_gateway_learns_of_calls_that_still_run(plain: Zygote, source: str, concurrency: int | None) -> None:
    instance = plain.start(source, concurrency=concurrency)
    first = instance.serve()
    for _ in range(2):
        assert first.next(first.begin(b'{"wait": true}')).kind == ACK
    first.close()
    second = instance.serve()
    assert second.hello["in_flight"] == 2
    assert second.call(b'{"wait": false}').body == b"done"
    for _ in range(2):
        end = second.next(0)
        assert (end.kind, end.flags & LAST) == (END, LAST)
    second.close()
    third = instance.serve()
    # The last answer may be out before its call counts as ended; then that is told too.
    for _ in range(third.hello["in_flight"]):
        end = third.next(0)
        assert (end.kind, end.flags & LAST) == (END, LAST)
    third.close()
    assert instance.serve().hello["in_flight"] == 0


def test_restarted_gateway_waits_for_the_call_of_a_serial_instance(plain: Zygote) -> None:
    instance = plain.start("import os\ndef handler(event):\n  os.read(0, 1)\n  return 'done'")
    first = instance.serve()
    first.begin()
    first.close()
    second = instance.serve()
    assert second.hello["in_flight"] == 0
    assert second.call().body == b"done"


def test_stream_to_a_lost_gateway_frees_the_instance(plain: Zygote) -> None:
    instance = plain.start(STREAM)
    first = instance.serve()
    call = first.begin()
    assert first.next(call).kind == HEAD
    first.close()
    second = instance.serve()
    assert second.next(second.begin()).kind == HEAD


def test_sys_exit_in_a_task_of_the_function_does_not_end_the_instance(plain: Zygote) -> None:
    source = """
import asyncio, sys
async def leave():
    sys.exit(3)
async def handler(event):
    task = asyncio.ensure_future(leave())
    await asyncio.wait([task])
    return "alive"
"""
    gateway = plain.start(source).serve()
    assert gateway.call().body == b"alive"
    assert gateway.call().body == b"alive"


def test_lines_of_calls_at_once_carry_their_own_request_id(any_version: Zygote) -> None:
    source = """
import logging, sys, threading, concurrent.futures
barrier = threading.Barrier(2, timeout=10)
pool = concurrent.futures.ThreadPoolExecutor(1)
def handler(event):
    n = event["n"]
    print("begin", n, end=" ")
    barrier.wait()
    print("end", n)
    logging.info("logged %d", n)
    thread = threading.Thread(target=print, args=("thread", n))
    thread.start()
    thread.join()
    pool.submit(print, "pool", n).result()
    sys.stdout.buffer.write(b"raw %d\\n" % n)
    print("unended", n, end="")
"""
    instance = any_version.start(source, concurrency=2)
    gateway = instance.serve()
    calls = [gateway.begin(b'{"n": %d}' % n) for n in (1, 2)]
    for call in calls:
        assert gateway.finish(call).error == ""
    lines = sorted(instance.log().split("\n"))
    wanted = ["begin {0} end {0}", "INFO root: logged {0}", "thread {0}", "pool {0}", "raw {0}", "unended {0}"]
    for n in (1, 2):
        for text in wanted:
            assert f"\x1erequest-{n}\x1f{text.format(n)}" in lines


def test_tasks_of_an_async_call_write_into_its_log(plain: Zygote) -> None:
    source = """
import asyncio
async def say(n):
    print("task", n)
async def handler(event):
    await asyncio.gather(say(event["n"]), asyncio.get_running_loop().run_in_executor(None, print, "pool", event["n"]))
"""
    instance = plain.start(source)
    gateway = instance.serve()
    for n in (1, 2):
        gateway.call(b'{"n": %d}' % n)
    for n in (1, 2):
        assert f"\x1erequest-{n}\x1ftask {n}\n" in instance.log()
        assert f"\x1erequest-{n}\x1fpool {n}\n" in instance.log()


def test_own_logging_setup_is_left_alone(plain: Zygote) -> None:
    source = """
import logging
logging.basicConfig(format="mine %(message)s", level=logging.WARNING)
def handler(event):
    logging.info("hidden")
    logging.warning("shown")
"""
    instance = plain.start(source)
    instance.serve().call()
    assert instance.log() == "\x1erequest-1\x1fmine shown\n"


def test_long_line_is_cut_into_lines_that_keep_the_id(plain: Zygote) -> None:
    instance = plain.start("def handler(event): print('x' * 10000)")
    instance.serve().call()
    lines = instance.log().split("\n")[:-1]
    assert len(lines) == 3
    assert "".join(line.removeprefix("\x1erequest-1\x1f") for line in lines) == "x" * 10_000


def test_stress_of_calls_cancellations_and_streams_ends_each_once(plain: Zygote) -> None:
    source = "def handler(event):\n  for n in range(20): yield b'x' * 60000\n"
    gateway = plain.start(source, concurrency=8).serve()
    calls = [gateway.begin() for _ in range(8)]
    for call in calls[::2]:
        gateway.send(CANCEL, 0, call)
    ends = {call: 0 for call in calls}
    open_calls = set(calls)
    while open_calls:
        frame = gateway.receive()
        if frame.kind == BODY:
            gateway.send(CREDIT, 0, frame.call, struct.pack(">I", len(frame.payload)))
        if frame.flags & LAST:
            ends[frame.call] += 1
            open_calls.discard(frame.call)
    assert set(ends.values()) == {1}
