import os
import subprocess
import sys

from corral.bench.idle import switches
from corral.bench.processes import Process

LOOP = "import sys\nfor line in sys.stdin.buffer: sys.stdout.buffer.write(line); sys.stdout.buffer.flush()"


def test_each_time_a_process_wakes_and_sleeps_again_counts() -> None:
    child = subprocess.Popen([sys.executable, "-c", LOOP], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None and child.stdout is not None
    with child:
        seen = []
        for _ in range(20):
            child.stdin.write(b"wake\n")
            child.stdin.flush()
            assert child.stdout.readline() == b"wake\n"
            seen.append(switches([Process(child.pid, os.getpid(), "", 0.0)]))
        child.stdin.close()
    assert seen[-1] - seen[0] >= 15


def test_a_process_that_has_ended_does_not_count() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert switches([Process(child.pid, os.getpid(), "", 0.0)]) == 0
