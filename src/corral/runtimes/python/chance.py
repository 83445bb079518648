"""Siblings of a zygote that has run a function's code must not draw the same numbers. `random` seeds itself anew after
each fork, and what asks the kernel needs nothing. OpenSSL seeds itself anew at its next use when the pid has changed,
and it always has: the zygote is pid 2 of its namespace and each child pid 1 of its own. (Asking it to would cost each
start 3 ms.)"""

import sys
from typing import Any


def reseed() -> None:
    """In a child. Generators that the function's code made for itself are its own affair (docs/functions.md)."""
    numpy_random: Any = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
