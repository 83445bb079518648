import signal

import pytest

from corral.model import ExitCause
from corral.sandbox.cgroups import Limits, Toll
from corral.sandbox.exits import judge

LIMITS = Limits(256, 1.0, 128)
SIGKILLED, SIGSEGV = int(signal.SIGKILL), int(signal.SIGSEGV)


def exited(status: int) -> int:
    return status << 8


@pytest.mark.parametrize(
    ("status", "stopped_as", "toll", "cause", "detail"),
    [
        pytest.param(exited(0), None, Toll(), ExitCause.EXITED, "exited with status 0", id="a clean exit"),
        pytest.param(SIGSEGV, None, Toll(), ExitCause.CRASHED, "ended by signal 11 (SIGSEGV)", id="a crash"),
        pytest.param(40, None, Toll(), ExitCause.CRASHED, "ended by signal 40", id="a real-time signal"),
        pytest.param(
            SIGKILLED, None, Toll(out_of_memory=1), ExitCause.OUT_OF_MEMORY, "used more than its 256 MiB", id="memory"
        ),
        pytest.param(
            exited(1),
            None,
            Toll(out_of_memory=2),
            ExitCause.OUT_OF_MEMORY,
            "used more than its 256 MiB; it exited with status 1",
            id="a child ran out of memory",
        ),
        pytest.param(
            SIGKILLED,
            ExitCause.TIMEOUT,
            Toll(out_of_memory=1),
            ExitCause.TIMEOUT,
            "ended by Corral: timeout",
            id="what we did goes before what else happened",
        ),
        pytest.param(
            exited(90), None, Toll(), ExitCause.START_FAILED, "its sandbox could not be set up", id="not dressed"
        ),
        pytest.param(exited(91), None, Toll(), ExitCause.LOAD_FAILED, "its code could not be loaded", id="not loaded"),
        pytest.param(
            None, None, Toll(), ExitCause.EXITED, "ended unseen, its status is not known", id="nobody saw it end"
        ),
        pytest.param(
            exited(3),
            None,
            Toll(pids_refused=7),
            ExitCause.EXITED,
            "exited with status 3; 7 times it was refused a process beyond its limit of 128",
            id="a fork bomb that gave up",
        ),
    ],
)
def test_the_cause_is_told_from_status_and_counters(
    status: int | None, stopped_as: ExitCause | None, toll: Toll, cause: ExitCause, detail: str
) -> None:
    assert judge(status, stopped_as, toll, LIMITS) == (cause, detail)
