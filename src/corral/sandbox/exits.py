"""Why an instance ended, told from its wait status and what the kernel counted."""

import os
import signal

from corral.model import ExitCause
from corral.sandbox.cgroups import Limits, Toll

DRESS_FAILED, LOAD_FAILED = 90, 91
"""Exit statuses of the runtime (docs/zygote.md)."""


def judge(status: int | None, stopped_as: ExitCause | None, toll: Toll, limits: Limits) -> tuple[ExitCause, str]:
    """The cause and a sentence. `status`: as wait gives it; None: nobody could collect it. `stopped_as`: why we
    killed it, if we did."""
    cause, detail = _cause(status, stopped_as, toll, limits)
    if toll.pids_refused:
        detail += f"; {toll.pids_refused} times it was refused a process beyond its limit of {limits.pids}"
    return cause, detail


def _cause(status: int | None, stopped_as: ExitCause | None, toll: Toll, limits: Limits) -> tuple[ExitCause, str]:
    if stopped_as is not None:
        return stopped_as, "ended by Corral: " + stopped_as.value
    code = None if status is None else os.waitstatus_to_exitcode(status)
    if code == DRESS_FAILED:
        return ExitCause.START_FAILED, "its sandbox could not be set up"
    if code == LOAD_FAILED:
        return ExitCause.LOAD_FAILED, "its code could not be loaded"
    # Read at every exit: the victim may have been a child of the process whose end we see.
    if toll.out_of_memory:
        after = "" if code == -signal.SIGKILL else f"; it {_end(code)}"
        return ExitCause.OUT_OF_MEMORY, f"used more than its {limits.memory_mib} MiB{after}"
    if code is not None and code < 0:
        return ExitCause.CRASHED, _end(code)
    return ExitCause.EXITED, _end(code)


def _end(code: int | None) -> str:
    if code is None:
        return "ended unseen, its status is not known"
    if code >= 0:
        return f"exited with status {code}"
    try:
        name = f" ({signal.Signals(-code).name})"
    except ValueError:  # a real-time signal
        name = ""
    return f"ended by signal {-code}{name}"
