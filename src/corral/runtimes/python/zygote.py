"""The program of a zygote: `python -I -S zygote.py FD`. What it does is in forking.py; this file only makes the
runtime importable as `_corral.python`, because a script with an isolated path has no package, and the names of our
modules must not stand in the way of a function's own."""

import importlib
import os
import sys
import types


def main() -> None:
    # threading would reset itself in each child, which costs 0.3 ms and 200 KiB of copied pages. The zygote has one
    # thread, so there is nothing to reset; forking.py gives the hook back to the children for their own forks.
    register, os.register_at_fork = os.register_at_fork, lambda **hooks: None
    importlib.import_module("threading")
    os.register_at_fork = register
    package = types.ModuleType("_corral")
    package.__path__ = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
    sys.modules["_corral"] = package
    importlib.import_module("_corral.python.forking").serve(int(sys.argv[1]))


if __name__ == "__main__":
    main()
