"""What modules want done around each fork. A zygote has one thread and holds no locks, so there is nothing to reset in
its children: resetting costs each of them 0.5 ms and 500 KiB of copied pages. Their own forks need it all the same."""

import importlib
import os
from typing import Any, Dict, List

_held: List[Dict[str, Any]] = []


def import_without_hooks(*modules: str) -> None:
    """Those imported before keep theirs."""
    register: Any = os.register_at_fork
    os.register_at_fork = lambda **hooks: _held.append(hooks)
    try:
        for module in modules:
            importlib.import_module(module)
    finally:
        os.register_at_fork = register


def give_back() -> None:
    """In a child: from here on its forks are like any process's."""
    for hooks in _held:
        os.register_at_fork(**hooks)
