"""What a package says it depends on, and the key of the layer that holds that: equal words for equal interpreters are
installed once. Only read here, never fetched."""

import hashlib
import platform
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from corral.errors import Invalid
from corral.ports import Written

Source = Literal["requirements.txt", "pyproject.toml"]
REQUIREMENTS: Source = "requirements.txt"
PROJECT: Source = "pyproject.toml"

FORMAT = 2
"""Raised when layers are built otherwise than before: those that exist are then built anew."""
FILE_MAX_BYTES = 1024 * 1024
FILES_MAX = 32
"""Requirement files that name each other."""
LINES_MAX = 10_000

_NAMED = re.compile(
    r"(?P<name>[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?P<extras>\[[^\]]*\])?\s*(?P<rest>([<>=!~;(]|@\s*[a-z+]+://|--hash).*)?\Z"
)
"""A requirement of PEP 508 whose source is an index or an address."""
_INDEXED = re.compile(r"(-c )?[a-z0-9][a-z0-9-]*(\[[^\]]*\])?([<>=!~ (;][^@]*)?\Z")
_INCLUDES = re.compile(r"(-r|--requirements?|-c|--constraints?)(?:\s*=\s*|\s+)?(?P<file>\S.*)\Z")
_HARMLESS = re.compile(r"(--pre|--prefer-binary|--require-hashes|--no-index|--only-binary|--no-binary|--hash)\b")
_ADDRESS = re.compile(r"(-i|--index-url|--extra-index-url|-f|--find-links)(?:\s*=\s*|\s+)?https?://")
_COMMENT = re.compile(r"(^|\s)#.*")
_BOUND = "-c "
"""Before what limits a version and asks for nothing."""
_LINE_END = re.compile(r"\r\n|\r|\n")
"""As installers see it: str.splitlines knows more of them."""
_ARCHIVES = (".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


class Dependencies(msgspec.Struct, frozen=True, kw_only=True):
    source: Source
    """The file of the package that names them."""
    lines: tuple[str, ...]
    """Each requirement or option once, in a spelling that equal ones share."""
    is_local: bool
    """Some of it lies in the package itself."""

    @property
    def is_plain(self) -> bool:
        """Names of the index and versions alone: no address, no path, no option but hashes."""
        return not self.is_local and all(_INDEXED.match(line) for line in self.lines)

    @property
    def written(self) -> Written | None:
        """What an installer is given in the file's stead, so that it reads what the key covers and nothing else. None:
        some of it lies in the package; then the key covers the whole package."""
        if self.is_local:
            return None
        bounds = [line for line in self.lines if line.startswith(_BOUND)]
        return Written(
            requirements="".join(f"{line}\n" for line in self.lines if line not in bounds),
            constraints="".join(f"{line.removeprefix(_BOUND)}\n" for line in bounds),
        )


def interpreter_tag(runtime: str) -> str:
    """What a compiled package is compiled for: `python3` is the interpreter we run on. Patch releases of a version
    share their layers."""
    minor = str(sys.version_info.minor) if "." not in runtime else runtime.partition(".")[2]
    libc = "-".join(platform.libc_ver()[:1])
    return f"cp3{minor}-{platform.machine()}-{libc}"


def layer_key(found: Dependencies, runtime: str, package: str) -> str:
    """sha256, hex. `package` is the package's own hash: it counts when a part of the layer comes from there."""
    parts = [FORMAT, interpreter_tag(runtime), found.source, found.lines, package if found.is_local else ""]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def dependencies(folder: Path) -> Dependencies | None:
    """Of the unpacked package; None: it names none. requirements.txt goes before pyproject.toml. Raises Invalid."""
    if (folder / REQUIREMENTS).is_file():
        reader = _Reader(folder)
        lines = tuple(sorted(set(reader.read(REQUIREMENTS))))
        return Dependencies(source=REQUIREMENTS, lines=lines, is_local=reader.is_local) if lines else None
    if (folder / PROJECT).is_file():
        return _of_project(folder)
    return None


class _Reader:
    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._seen: set[Path] = set()
        self._count = 0
        self.is_local = False

    def read(self, name: str, where: str = "", prefix: str = "") -> Iterator[str]:
        """Lines of the file `name` and of those it includes. Raises Invalid."""
        file = (self._folder / name).resolve()
        if not file.is_relative_to(self._folder):
            raise Invalid(f"{where}{name}, must be a file of the package")
        if not file.is_file():
            raise Invalid(f"{where}{name}, must be a file of the package; there is none")
        if file in self._seen:
            return
        self._seen.add(file)
        if len(self._seen) > FILES_MAX:
            raise Invalid(f"{where}{name}: more than {FILES_MAX} requirement files include each other")
        for number, line in _logical_lines(_text(file, name)):
            self._count += 1
            if self._count > LINES_MAX:
                raise Invalid(f"{name} line {number}: more than {LINES_MAX} requirements, must be fewer")
            yield from self._line(line, f"{name} line {number}: ", Path(name).parent, prefix)

    def _line(self, line: str, where: str, around: Path, prefix: str) -> Iterator[str]:
        if "${" in line:
            raise Invalid(f"{where}{line[:80]!r}, must be written out: no environment variable is filled in")
        included = _INCLUDES.match(line)
        if included is not None:
            if "://" in included["file"]:
                raise Invalid(f"{where}{line[:80]!r}, must include a file of the package, not one from elsewhere")
            kind = _BOUND if line.startswith(("-c", "--c")) else prefix
            yield from self.read(str(around / included["file"]), where, kind)
            return
        yield prefix + self._spelled(line, around)

    def _spelled(self, line: str, around: Path) -> str:
        named = _NAMED.match(line)
        is_file = "://" not in line and (line.endswith(_ARCHIVES) or (self._folder / around / line).exists())
        if named is not None and not is_file and "file:" not in line:
            return normalised(line)
        if _HARMLESS.match(line) is None and _ADDRESS.match(line) is None:
            self.is_local = True
        return " ".join(line.split())


def normalised(requirement: str) -> str:
    """As PEP 503 spells names, without spaces where they mean nothing."""
    named = _NAMED.match(requirement)
    assert named is not None
    name = re.sub(r"[-_.]+", "-", named["name"]).lower()
    rest = named["rest"] or ""
    versions, marker = (rest, "") if rest.startswith("@") else _parted(rest)
    if not rest.startswith("@"):
        versions = ",".join(sorted("".join(each.split()) for each in versions.strip("() ").split(",")))
    return f"{name}{(named['extras'] or '').replace(' ', '')}{versions.strip()}{marker}"


def _parted(rest: str) -> tuple[str, str]:
    """Versions, and what follows them: marker or hashes."""
    found = re.search(r"\s*(;|--hash)", rest)
    return (rest, "") if found is None else (rest[: found.start()], " " + " ".join(rest[found.start() :].split()))


def _of_project(folder: Path) -> Dependencies | None:
    try:
        tree = tomllib.loads(_text(folder / PROJECT, PROJECT))
    except tomllib.TOMLDecodeError as exc:
        raise Invalid(f"{PROJECT}: not TOML: {exc}") from exc
    project = tree.get("project")
    if not isinstance(project, dict):
        return None
    if "dependencies" in (project.get("dynamic") or ()):
        raise Invalid(f"{PROJECT}: project.dependencies is dynamic, must be a list there, or in {REQUIREMENTS}")
    listed = project.get("dependencies", [])
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise Invalid(f"{PROJECT}: project.dependencies = {str(listed)[:80]}, must be a list of texts")
    problems = [each for each in listed if _NAMED.match(each.strip()) is None or "${" in each]
    if problems:
        raise Invalid(f"{PROJECT}: project.dependencies has {problems[0][:80]!r}, must be as in 'jinja2>=3'")
    if not listed:
        return None
    tool = tree.get("tool")
    uv = tool.get("uv") if isinstance(tool, dict) else None
    is_local = (isinstance(uv, dict) and "sources" in uv) or any("file:" in each for each in listed)
    lines = {normalised(each.strip()) for each in listed}
    return Dependencies(source=PROJECT, lines=tuple(sorted(lines)), is_local=is_local)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number, line) without comments and empty lines; what a backslash continues is one line. A comment ends with its
    own line, whatever it ends in."""
    begun, first = "", 0
    for number, raw in enumerate(_LINE_END.split(text), 1):
        first = first if begun else number
        if raw.endswith("\\") and _COMMENT.search(raw) is None:
            begun += raw[:-1] + " "
            continue
        line = _COMMENT.sub("", begun + raw).strip()
        begun = ""
        if line:
            yield first, line
    if begun.strip():
        yield first, begun.strip()


def _text(file: Path, name: str) -> str:
    if file.stat().st_size > FILE_MAX_BYTES:
        raise Invalid(f"{name} has {file.stat().st_size} bytes, must be at most {FILE_MAX_BYTES}")
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as exc:
        raise Invalid(f"{name}: not UTF-8: {exc}") from exc
