"""What `corral dev` tells: to a person as words, to a program as a JSON line each."""

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag=str.lower, omit_defaults=True):
    """Base of all. The tag is the class name in lower case."""

    at: float
    """Wall clock, seconds."""


class Serving(Event, frozen=True, kw_only=True):
    """The server is there; nothing is deployed yet."""

    url: str


class Installing(Event, frozen=True, kw_only=True):
    """What was saved needs other people's packages, and that takes a while."""

    packages: str
    """As in "3 packages"."""


class Loaded(Event, frozen=True, kw_only=True):
    """What was saved answers calls from now on."""

    function: str
    url: str
    style: str
    revision: int
    took_ms: float
    """From the moment the change was noticed."""
    is_first: bool = False
    is_private: bool = False


class Refused(Event, frozen=True, kw_only=True):
    """What was saved cannot be served."""

    function: str | None = None
    """None: it cannot even be said which functions there are."""
    error: str
    """A sentence or several, a line each."""
    trace: list[str] = []
    """Where it happened in the developer's own files, with the source lines; the innermost last."""
    serving: int | None = None
    """The revision that goes on; None: there is none."""


class Removed(Event, frozen=True, kw_only=True):
    """The function is in the files no more, and gone."""

    function: str


class Logged(Event, frozen=True, kw_only=True):
    """A line that the function printed."""

    function: str
    request: str
    """Empty for a line that belongs to no call."""
    line: str


class Called(Event, frozen=True, kw_only=True):
    """A call is over."""

    function: str
    request: str
    method: str
    path: str
    """With its query, as the function sees it."""
    status: int
    took_ms: float
    is_cold: bool = False
    is_whole: bool = True
    """False: the answer broke off, or the client left (status 499)."""
    left_out: int = 0
    """So many calls before it are not told: there were too many."""
