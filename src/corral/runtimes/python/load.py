"""The function's code: find it, load it, or say in one sentence why that cannot be."""

import importlib
import importlib.util
import marshal
import os
import sys
import types
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from . import hints, logs, styles

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
    is_relative: bool
    """A file of the package's root that imports from `.`, as those of OpenFaaS may."""
    manner: Optional[styles.Manner]


def load(plan: Dict[str, Any], marshalled: bytes) -> Loaded:
    """Raises LoadFailed. `marshalled` is the `code` of an earlier start of the same revision, or empty."""
    return prepared(plan, known(marshalled) or _search(plan["package"], plan.get("handler")))


def prepared(plan: Dict[str, Any], entry: Entry) -> Loaded:
    package = plan["package"]
    module = _execute(package, plan.get("layer"), entry)
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
    code = b""
    if plan.get("want_code"):
        code = MAGIC + marshal.dumps((entry.file, name, entry.code, entry.is_relative, tuple(manner)))
    return Loaded(styles.prepare(function, manner, about), code)


def known(marshalled: bytes) -> Optional[Entry]:
    """None: there is none, or it is another interpreter's."""
    if not marshalled.startswith(MAGIC):
        return None
    try:
        file, name, code, is_relative, manner = marshal.loads(marshalled[len(MAGIC) :])
    except (EOFError, ValueError, TypeError):
        return None
    return Entry(file, name, code, is_relative, styles.Manner(*manner))


def _search(package: str, handler: Optional[str]) -> Entry:
    file, name = _entry(package, handler)
    return compiled(package, file, name, _read(package, file))


def compiled(package: str, file: str, name: Optional[str], source: bytes) -> Entry:
    """Raises LoadFailed."""
    is_relative = "/" not in file and (b"from ." in source or b"from." in source)
    try:
        code: types.CodeType = compile(source, package + "/" + file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        raise _failed(exc, package, file) from None
    return Entry(file, name, code, is_relative, None)


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


def _read(package: str, file: str) -> bytes:
    try:
        fd = os.open(package + "/" + file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _all_of(fd)
        finally:
            os.close(fd)
    except OSError as exc:
        raise LoadFailed("%s cannot be read: %s" % (file, exc.strerror)) from None


def _all_of(fd: int) -> bytes:
    parts = [os.read(fd, os.fstat(fd).st_size + 1)]
    while parts[-1]:
        parts.append(os.read(fd, 65_536))
    return b"".join(parts)


def _execute(package: str, layer: Optional[str], entry: Entry) -> types.ModuleType:
    file = entry.file
    path = package + "/" + file
    name = _module_name(file)
    parent = name.rpartition(".")[0]
    sys.path[:0] = [package, path.rpartition("/")[0]] if parent else [package]
    if layer is not None and layer not in sys.path:
        # Last, where site-packages stands elsewhere: a dependency must not replace a module of the standard library.
        sys.path.append(layer)
    sys.argv = [path]
    # Without a spec, like every program's main module: making one costs more than all the rest here.
    module = types.ModuleType(name)
    namespace = module.__dict__
    # Under both names: `import __main__`, pickle and multiprocessing must find the function, not the zygote.
    sys.modules[name] = sys.modules["__main__"] = module
    try:
        if parent:
            importlib.import_module(parent)
        elif entry.is_relative:
            parent = _import_root(package)
            sys.modules[parent + "." + name] = module
        namespace["__file__"] = path
        namespace["__package__"] = parent
        namespace["__builtins__"] = __builtins__
        exec(entry.code, namespace)
    except BaseException as exc:
        raise _failed(exc, package, file) from None
    return module


def _import_root(package: str) -> str:
    """The name of a package that is the function's root folder. OpenFaaS's is called `function`, with or without an
    __init__.py; here it makes way for a module of the function with that name."""
    name = "function"
    while os.path.exists("%s/%s.py" % (package, name)) or os.path.exists("%s/%s" % (package, name)):
        name += "_"
    start = package + "/__init__.py"
    if not os.path.isfile(start):
        root = sys.modules[name] = types.ModuleType(name)
        root.__path__ = [package]
        return name
    spec = importlib.util.spec_from_file_location(name, start, submodule_search_locations=[package])
    assert spec is not None and spec.loader is not None
    sys.modules[name] = root = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(root)
    return name


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
            "%s imports %s, which is not there: a function has the standard library of Python %d.%d, the files of its "
            "own package and what its requirements.txt names; add %s to requirements.txt"
            % (where, exc.name, sys.version_info[0], sys.version_info[1], hints.package_of(exc.name))
        )
    elif isinstance(exc, SystemExit):
        sentence = "%s called sys.exit(%r) while it was loaded, must only define the function" % (where, exc.code)
    else:
        try:
            text = str(exc)
        except Exception:
            text = ""
        sentence = "%s raised %s while it was loaded%s" % (where, type(exc).__name__, ": " + text if text else "")
        why = hints.hint(exc)
        sentence += "; " + why if why else ""
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
