"""Siblings of a zygote that has run a function's code must not draw the same numbers. `random` seeds itself anew after
each fork, and what asks the kernel needs nothing."""

import os
import sys
from typing import Any


def reseed() -> None:
    """In a child. Generators that the function's code made for itself are its own affair (docs/functions.md)."""
    openssl: Any = sys.modules.get("_ssl")
    if openssl is not None:
        # It seeds itself anew when the pid changes, and each child is pid 1 of its namespace.
        openssl.RAND_add(os.urandom(32), 32.0)
    numpy_random: Any = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
