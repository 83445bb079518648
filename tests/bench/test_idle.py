import os
import subprocess
import sys
import time
from pathlib import Path

from corral.bench.idle import switches
from corral.bench.processes import Process

LOOP = "import sys\nfor line in sys.stdin.buffer: sys.stdout.buffer.write(line); sys.stdout.buffer.flush()"


def await_sleep(pid: int) -> None:
    deadline = time.monotonic() + 10.0
    while Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "S":
        assert time.monotonic() < deadline, "it does not wait for its next line"
        os.sched_yield()


def test_each_time_a_process_wakes_and_sleeps_again_counts() -> None:
    child = subprocess.Popen([sys.executable, "-c", LOOP], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None and child.stdout is not None
    with child:
        seen = []
        for _ in range(20):
            child.stdin.write(b"wake\n")
            child.stdin.flush()
            assert child.stdout.readline() == b"wake\n"
            await_sleep(child.pid)
            seen.append(switches([Process(child.pid, os.getpid(), "", 0.0)]))
        child.stdin.close()
    assert seen[-1] - seen[0] >= 19


def test_a_process_that_has_ended_does_not_count() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert switches([Process(child.pid, os.getpid(), "", 0.0)]) == 0
