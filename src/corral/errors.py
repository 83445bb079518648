"""Every fault Corral can report, named after what went wrong. They know nothing of HTTP: each dialect has one
table from fault to its own status and body. The message is a sentence for the person who must act on it."""

PROBLEMS_MAX = 50
"""So many mistakes are named at once: nobody reads more, and they are cheaper to make than to describe."""


class CorralError(Exception):
    """Base of all. `str(fault)` says what was wrong, with which value, and what would be right."""

    retry_after_s: float | None = None

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s


# -- the asker's mistakes -----------------------------------------------------------------------------------


class Invalid(CorralError):
    """One or several fields are wrong. `problems` has one sentence for each, in the form `field = value, …`, up to
    PROBLEMS_MAX."""

    def __init__(self, *problems: str) -> None:
        if len(problems) > PROBLEMS_MAX:
            problems = (*problems[:PROBLEMS_MAX], "and more")
        super().__init__("\n".join(problems))
        self.problems = problems


class NotFound(CorralError):
    """Nothing of that name exists."""


class Conflict(CorralError):
    """What was asked contradicts what is there, or something newer happened meanwhile."""


class Unauthenticated(CorralError):
    """No token, or one that is not known."""


class Forbidden(CorralError):
    """The token is known and may not do this; or the request came from a page of another origin."""


class BodyTooLarge(CorralError):
    """The request's body exceeds the function's limit."""


class BadRequest(CorralError):
    """The request cannot be understood."""


# -- the call could not be carried --------------------------------------------------------------------------


class QueueFull(CorralError):
    """As many calls wait for this function as it allows."""

    retry_after_s = 1.0


class StartTimeout(CorralError):
    """The call was held for its whole hold limit and no instance came."""

    retry_after_s = 1.0


class Unavailable(CorralError):
    """A part of Corral that the call needs is away and will be back."""

    retry_after_s = 1.0


class CallTimeout(CorralError):
    """The function did not answer before the call's deadline."""


class LoadFailed(CorralError):
    """The function's code could not be loaded, so no instance can serve it. `traceback` is for its owner only."""

    def __init__(self, message: str, *, traceback: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.traceback = traceback


class BuildFailed(CorralError):
    """The function's dependencies could not be installed. `output` is the end of what the installer wrote, for its
    owner only."""

    def __init__(self, message: str, *, output: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.output = output


class InstanceLost(CorralError):
    """The instance ended while it held the call: out of memory, a crash, or another call's timeout."""


class FunctionFailed(CorralError):
    """The function raised. Its traceback is in its log under the call's request id."""


class BadResponse(CorralError):
    """The function's answer cannot be turned into a response."""


# -- the machine or the installation ------------------------------------------------------------------------


class BadConfiguration(CorralError):
    """Settings that cannot work; all of them in one message."""


class DataFolderBusy(CorralError):
    """Another engine holds this data folder."""


class StoreTooNew(CorralError):
    """The data folder was written by a newer Corral."""


class StoreFailed(CorralError):
    """The store could not be read or written: damaged, or no space. What was asked did not happen."""


class SandboxFailed(CorralError):
    """The machine refused a part of a sandbox."""
