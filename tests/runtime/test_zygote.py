"""A zygote forks instances on command, and tells of their ends."""

import os
import signal
import socket
from pathlib import Path

import pytest

from .keeper import Zygote

HELLO = "def handler(event):\n    return {'hello': event.get('name', 'nobody')}\n"


def test_instance_answers_its_first_call(everywhere: Zygote) -> None:
    gateway = everywhere.start(HELLO).serve()
    assert gateway.call(b'{"name": "Ada"}').json() == {"hello": "Ada"}


def test_zygote_keeps_no_right_but_those_that_dressing_takes(sandboxed: Zygote) -> None:
    lines = dict(line.split(":\t") for line in Path(f"/proc/{sandboxed.process.pid}/status").read_text().splitlines())
    needed = f"{1 << 6 | 1 << 7 | 1 << 8 | 1 << 21:016x}"
    kinds = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    assert [lines[kind] for kind in kinds] == ["0" * 16, needed, needed, needed, "0" * 16]


def test_call_sent_before_the_instance_exists_is_answered(everywhere: Zygote) -> None:
    gateway = everywhere.start(HELLO).connect()
    call = gateway.begin(b'{"name": "Ada"}')
    assert gateway.finish(call).json() == {"hello": "Ada"}


def test_zygote_tells_version_pid_and_exit_status(plain: Zygote) -> None:
    instance = plain.start("import os\ndef handler(event):\n    os._exit(7)\n")
    gateway = instance.serve()
    gateway.begin(b"{}")
    assert os.waitstatus_to_exitcode(instance.wait_exited()) == 7
    assert plain.up["pid"] == plain.process.pid


def test_killed_instance_is_reported_with_its_signal(sandboxed: Zygote) -> None:
    instance = sandboxed.start(HELLO)
    instance.serve()
    sandboxed.wait_started(instance)
    assert instance.pidfd is not None
    signal.pidfd_send_signal(instance.pidfd, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(instance.wait_exited()) == -signal.SIGKILL


def test_stamps_of_the_start_are_in_order(sandboxed: Zygote) -> None:
    stamps = sandboxed.start(HELLO, stamps={"received": 1.0}).serve().ready["stamps"]
    assert stamps["received"] == 1.0
    assert stamps["forked"] <= stamps["dressed"] <= stamps["loaded"]


def test_code_of_the_first_start_spares_later_ones_the_source(sandboxed: Zygote, tmp_path: Path) -> None:
    code = sandboxed.start(HELLO, want_code=True).serve().code
    os.chmod(tmp_path, 0o755)
    (tmp_path / "handler.py").write_text("this is not Python")
    gateway = sandboxed.start_package(tmp_path, code=code).serve()
    assert gateway.call(b'{"name": "Ada"}').json() == {"hello": "Ada"}


def test_code_of_another_interpreter_is_ignored(plain: Zygote, tmp_path: Path) -> None:
    code = plain.start("def handler(event): return 'stale'", want_code=True).serve().code
    (tmp_path / "handler.py").write_text(HELLO)
    gateway = plain.start_package(tmp_path, code=b"\0\0\0\0" + code[4:]).serve()
    assert gateway.call(b'{"name": "Ada"}').json() == {"hello": "Ada"}


def test_child_that_cannot_be_dressed_says_why_and_exits_90(sandboxed: Zygote) -> None:
    instance = sandboxed.start(HELLO, uid=-5)
    assert os.waitstatus_to_exitcode(instance.wait_exited()) == 90
    assert "the sandbox could not be made" in instance.log()


def test_instance_joins_its_groups_before_all_else(sandboxed: Zygote, tmp_path: Path) -> None:
    group = Path(f"/sys/fs/cgroup/pids/corral-test-{os.getpid()}")
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no writable cgroup v1 hierarchy of pids")
    try:
        os.chmod(tmp_path, 0o755)
        (tmp_path / "handler.py").write_text(HELLO)
        instance = sandboxed.start_package(tmp_path, tasks=(group / "tasks",))
        instance.serve()
        sandboxed.wait_started(instance)
        assert (group / "cgroup.procs").read_text().split() == [str(instance.pid)]
        instance.close_process()
    finally:
        remove_group(group)


def remove_group(group: Path) -> None:
    """An ended process leaves its group a moment after its exit was seen; the kernel says when by an event."""
    for _ in range(2000):
        try:
            group.rmdir()
            return
        except OSError:
            os.sched_yield()
    raise AssertionError(f"{group} is still busy")


def test_zygote_ends_when_its_keeper_is_gone(own_zygote: Zygote) -> None:
    instance = own_zygote.start(HELLO)
    gateway = instance.serve()
    own_zygote.wait_started(instance)
    own_zygote.pair.shutdown(socket.SHUT_RDWR)
    assert own_zygote.process.wait(10) == 0
    # The instance lives on, until whoever adopted it ends it.
    assert gateway.call(b'{"name": "Ada"}').json() == {"hello": "Ada"}
    assert instance.pidfd is not None
    signal.pidfd_send_signal(instance.pidfd, signal.SIGKILL)


def test_frame_longer_than_allowed_ends_the_instance(plain: Zygote) -> None:
    instance = plain.start(HELLO)
    gateway = instance.serve()
    gateway.socket.sendall(b"\x04\x01\xff\xff\x00\x00\x00\x01" + b"x" * 65_535)
    assert os.waitstatus_to_exitcode(instance.wait_exited()) == 92
    assert "broke the protocol" in instance.log()


FORKS = """
import logging, os, threading

def handler(event):
    ready, go = threading.Event(), threading.Event()
    def hold():
        with logging.getLogger().handlers[0].lock:
            ready.set()
            go.wait()
    threading.Thread(target=hold, daemon=True).start()
    ready.wait()
    pid = os.fork()
    if pid == 0:
        logging.getLogger("forked").warning("from the child")
        os._exit(threading.active_count() - 1)
    go.set()
    return {"status": os.waitpid(pid, 0)[1]}
"""


def test_fork_inside_a_function_is_like_any_process(everywhere: Zygote) -> None:
    instance = everywhere.start(FORKS)
    assert instance.serve().call().json() == {"status": 0}
    assert "WARNING forked: from the child" in instance.log()


def test_rehearsal_in_the_zygote_leaves_no_traces(everywhere: Zygote) -> None:
    source = """
import logging, os, sys
FOUND = [sys.path[0], sys.path.count(sys.path[0]), sys.argv, sorted(name for name in sys.modules if name == "handler")]
FOUND += [sys.modules["__main__"].__name__, len(logging.root.handlers), sorted(map(int, os.listdir("/proc/self/fd")))]
def main(args): return {"found": FOUND}
"""
    found = everywhere.start({"app.py": source}).serve().call().json()["found"]
    folder = found[0]
    # 0 to 2, the listening socket, and the folder that is being listed.
    assert found[1:] == [1, [folder + "/app.py"], [], "app", 0, [0, 1, 2, 3, 4]]
