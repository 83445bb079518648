"""The function's code: find it, load it, or say in one sentence why that cannot be."""

import importlib.machinery
import importlib.util
import marshal
import os
import sys
import types
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from . import logs, styles

ENTRY_FILES = ("handler.py", "main.py", "app.py", "function.py", "index.py", "lambda_function.py", "__main__.py")
"""Looked for in this order; a folder with a single Python file needs no such name."""

MAGIC = importlib.util.MAGIC_NUMBER


class LoadFailed(Exception):
    """`str` is the sentence; `traceback` that of the user's code, or empty."""

    def __init__(self, sentence: str, traceback: str = "") -> None:
        super().__init__(sentence)
        self.traceback = traceback


class Loaded(NamedTuple):
    handler: styles.Handler
    code: bytes
    """For later starts: the entry module's code and what was found out about it, opaque to everybody else."""


class Entry(NamedTuple):
    """What to run. `name` and `manner` are found out by the first start, and given to later ones with the code."""

    file: str
    name: Optional[str]
    code: types.CodeType
    manner: Optional[styles.Manner]


def load(plan: Dict[str, Any], marshalled: bytes) -> Loaded:
    """Raises LoadFailed. `marshalled` is the `code` of an earlier start of the same revision, or empty."""
    package = plan["package"].rstrip("/")
    entry = _known(marshalled) or _search(package, plan.get("handler"))
    module = _execute(package, entry.file, entry.code)
    name, function = _function(module, package, entry.file, entry.name)
    manner = entry.manner
    if manner is None:
        try:
            manner = styles.recognise(name, function, plan.get("style"))
        except ValueError as exc:
            raise LoadFailed("%s: %s" % (entry.file, exc)) from None
    about = styles.About(
        function=plan.get("function", ""),
        namespace=plan.get("namespace", ""),
        memory_mib=int(plan.get("memory_mib") or 0),
        instance=plan.get("hostname") or "",
    )
    code = MAGIC + marshal.dumps((entry.file, name, tuple(manner), entry.code)) if plan.get("want_code") else b""
    return Loaded(styles.prepare(function, manner, about), code)


def _known(marshalled: bytes) -> Optional[Entry]:
    """None: there is none, or it is another interpreter's."""
    if not marshalled.startswith(MAGIC):
        return None
    try:
        file, name, manner, code = marshal.loads(marshalled[len(MAGIC) :])
    except (EOFError, ValueError, TypeError):
        return None
    return Entry(file, name, code, styles.Manner(*manner))


def _search(package: str, handler: Optional[str]) -> Entry:
    file, name = _entry(package, handler)
    return Entry(file, name, _compile(package, file), None)


def _entry(package: str, handler: Optional[str]) -> Tuple[str, Optional[str]]:
    """(file inside the package, name of the function or None)"""
    if not os.path.isdir(package):
        raise LoadFailed("the package folder %s does not exist or cannot be read" % package)
    if handler is None:
        return _conventional(package), None
    file, _, name = handler.partition(":")
    for candidate in (file, file + ".py"):
        if candidate.endswith(".py") and os.path.isfile(os.path.join(package, candidate)):
            return candidate, name
    raise LoadFailed("handler = %r, but the package has no file %s; it has %s" % (handler, file, _listed(package)))


def _conventional(package: str) -> str:
    files = sorted(name for name in os.listdir(package) if name.endswith(".py"))
    for name in ENTRY_FILES:
        if name in files:
            return name
    if len(files) == 1:
        return files[0]
    wanted = ", ".join(ENTRY_FILES)
    if not files:
        raise LoadFailed("the package has no Python file; it has %s. Looked for %s" % (_listed(package), wanted))
    raise LoadFailed(
        "which file holds the function? The package has %s, and none of %s. Name it as handler, as in %s:main"
        % (", ".join(files[:20]), wanted, files[0])
    )


def _listed(package: str) -> str:
    names = sorted(os.listdir(package))
    return ", ".join(names[:20]) + (", …" if len(names) > 20 else "") if names else "nothing"


def _compile(package: str, file: str) -> types.CodeType:
    path = os.path.join(package, file)
    try:
        with open(path, "rb") as source:
            text = source.read()
    except OSError as exc:
        raise LoadFailed("%s cannot be read: %s" % (file, exc.strerror)) from None
    try:
        code: types.CodeType = compile(text, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        raise _failed(exc, package, file) from None
    return code


def _execute(package: str, file: str, code: types.CodeType) -> types.ModuleType:
    path = os.path.join(package, file)
    name = _module_name(file)
    folder = os.path.dirname(path)
    sys.path[:0] = [package] if folder == package else [package, folder]
    sys.argv = [path]
    module = types.ModuleType(name)
    module.__file__ = path
    module.__spec__ = importlib.machinery.ModuleSpec(name, None, origin=path)
    module.__package__ = name.rpartition(".")[0]
    module.__dict__["__builtins__"] = __builtins__
    # Under both names: `import __main__`, pickle and multiprocessing must find the function, not the zygote.
    sys.modules[name] = sys.modules["__main__"] = module
    try:
        if module.__package__:
            importlib.import_module(module.__package__)
        exec(code, module.__dict__)
    except BaseException as exc:
        raise _failed(exc, package, file) from None
    return module


def _module_name(file: str) -> str:
    """`src/app.py` is `src.app`, so that relative imports work. `__main__.py` is not run as a program."""
    name = file[: -len(".py")].replace("/", ".")
    return "main__" if name == "__main__" else name


def _function(module: types.ModuleType, package: str, file: str, name: Optional[str]) -> Tuple[str, Any]:
    if name is None:
        name = styles.find(module)
        if name is None:
            raise LoadFailed(
                "%s has no function %s; %s"
                % (file, " or ".join((", ".join(styles.NAMES[:-1]), styles.NAMES[-1])), _others(module, package, file))
            )
    function = getattr(module, name, None)
    if function is None:
        raise LoadFailed("%s has no function %s; %s" % (file, name, _others(module, package, file)))
    if not callable(function):
        raise LoadFailed("%s in %s is %s, must be a function" % (name, file, type(function).__name__))
    return name, function


def _others(module: types.ModuleType, package: str, file: str) -> str:
    names: List[str] = styles.described(module, package)
    if not names:
        return "it defines no functions"
    return "it has %s. Name the one to call as handler, as in %s:%s" % (", ".join(names[:20]), file, names[0])


def _failed(exc: BaseException, package: str, file: str) -> LoadFailed:
    where = _where(exc, package, file)
    if isinstance(exc, SyntaxError):
        inside = os.path.relpath(exc.filename, package) if exc.filename and exc.filename.startswith(package) else file
        line = (exc.text or "").strip()
        sentence = "%s line %s: %s%s" % (inside, exc.lineno, exc.msg, ": %s" % line[:100] if line else "")
    elif isinstance(exc, ModuleNotFoundError) and exc.name:
        sentence = (
            "%s imports %s, which is not there: a function has the standard library of Python %d.%d and the files of "
            "its own package" % (where, exc.name, sys.version_info[0], sys.version_info[1])
        )
    elif isinstance(exc, SystemExit):
        sentence = "%s called sys.exit(%r) while it was loaded, must only define the function" % (where, exc.code)
    else:
        try:
            text = str(exc)
        except Exception:
            text = ""
        sentence = "%s raised %s while it was loaded%s" % (where, type(exc).__name__, ": " + text if text else "")
    try:
        trace = logs.own_traceback(exc)
    except Exception:
        trace = ""
    return LoadFailed(sentence[:1000], trace)


def _where(exc: BaseException, package: str, file: str) -> str:
    """`file line n` of the innermost line of the package that was running."""
    found = file
    tb = exc.__traceback__
    while tb is not None:
        name = tb.tb_frame.f_code.co_filename
        if name.startswith(package + os.sep):
            found = "%s line %d" % (os.path.relpath(name, package), tb.tb_lineno)
        tb = tb.tb_next
    return found
