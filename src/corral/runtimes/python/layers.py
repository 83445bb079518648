"""The imports a function's code will make from its dependencies, made before there is that code: so that its next
version, with the same dependencies, need not make them again."""

import ast
import importlib
import os
import sys
from typing import Iterable, Iterator, List

FILES_MAX = 200
"""Of a package, looked through for imports."""


def import_all(package: str, layer: str) -> None:
    """What the modules of `package` import at their top from `layer`. Its own code is read and not run. What can't be
    imported is for the code to report."""
    sys.path.append(layer)
    there = _modules_in(layer)
    for name in dict.fromkeys(_imports(package)):
        if name.partition(".")[0] in there:
            try:
                importlib.import_module(name)
            except Exception:  # `from a import b`, where b is no module; or it needs what only the code prepares
                continue


def forget_shadowed(package: str, layer: str) -> None:
    """A module of the code stands before one of its dependencies that has its name, imported or not."""
    own = _modules_in(package)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        if name.partition(".")[0] in own and file.startswith(layer + os.sep):
            del sys.modules[name]


def _modules_in(folder: str) -> List[str]:
    return [name.partition(".")[0] for name in os.listdir(folder)]


def _imports(package: str) -> Iterator[str]:
    for path in _files(package):
        try:
            with open(path, "rb") as file:
                tree = ast.parse(file.read())
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
        for statement in _at_the_top(tree.body):
            if isinstance(statement, ast.Import):
                for alias in statement.names:
                    yield alias.name
            elif isinstance(statement, ast.ImportFrom) and not statement.level and statement.module:
                yield statement.module
                for alias in statement.names:
                    yield "%s.%s" % (statement.module, alias.name)


def _files(package: str) -> List[str]:
    found = []
    for folder, _, names in os.walk(package):
        found += [os.path.join(folder, name) for name in sorted(names) if name.endswith(".py")]
        if len(found) > FILES_MAX:
            break
    return found[:FILES_MAX]


def _at_the_top(statements: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Those that run when the module is loaded, as far as their form tells."""
    for statement in statements:
        yield statement
        for part in ("body", "handlers", "orelse", "finalbody"):
            if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                yield from _at_the_top(getattr(statement, part, ()))
