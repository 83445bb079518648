"""The program of a zygote: `python -I -S zygote.py FD`. What it does is in forking.py; this file only makes the
runtime importable as `_corral.python`, because a script with an isolated path has no package, and the names of our
modules must not stand in the way of a function's own."""

import importlib
import os
import sys
import types


def main() -> None:
    package = types.ModuleType("_corral")
    package.__path__ = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
    sys.modules["_corral"] = package
    hooks = importlib.import_module("_corral.python.hooks")
    hooks.import_without_hooks("threading", "logging", "concurrent.futures.thread")
    importlib.import_module("_corral.python.forking").serve(int(sys.argv[1]))


if __name__ == "__main__":
    main()
