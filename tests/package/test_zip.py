"""Zip archives from outside: what is refused, each for its own reason, and what is kept."""

import io
import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from corral.errors import Invalid
from corral.package.archive import Limits, unpack
from corral.package.bundle import pack

LIMITS = Limits(bytes_max=1_000_000, members_max=50)
DEFLATED, STORED = zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED


def entry(name: str, mode: int = stat.S_IFREG | 0o644, method: int = DEFLATED, system: int = 3) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.create_system, made.external_attr, made.compress_type = system, mode << 16, method
    return made


def packed(*entries: tuple[zipfile.ZipInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for made, content in entries:
            archive.writestr(made, content)
    return out.getvalue()


def named(*names: str) -> bytes:
    return packed(*((entry(name), b"x") for name in names))


def renamed(content: bytes, old: bytes, new: bytes, count: int = -1) -> bytes:
    assert len(old) == len(new), "places in the archive stay"
    return content.replace(old, new, count)


def patched(content: bytes, where: bytes, offset: int, form: str, value: int) -> bytes:
    """One field of the first header that begins with `where`."""
    changed = bytearray(content)
    struct.pack_into(form, changed, content.index(where) + offset, value)
    return bytes(changed)


LOCAL, CENTRAL, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
PLAIN = packed((entry("app.py"), b"x" * 1000))
KEPT = packed((entry("app.py", method=STORED), b"x" * 1000))
TWO = packed((entry("a", method=STORED), b"1" * 100), (entry("b", method=STORED), b"2" * 100))


def overlapping() -> bytes:
    """The directory names the first member twice: one lies over the other."""
    same = packed((entry("a", method=STORED), b"1" * 100), (entry("b", method=STORED), b"1" * 100))
    changed = bytearray(same)
    second = same.index(CENTRAL, same.index(CENTRAL) + 1)
    struct.pack_into("<L", changed, second + 42, 0)
    return bytes(changed).replace(b"b", b"a")


def quoted() -> bytes:
    """A member whose contents are another member, which the directory names as well: 42 kB may become petabytes so."""
    inner = packed((entry("in", method=STORED), b"y" * 50))
    inner = inner[: inner.index(CENTRAL)]
    content = packed((entry("out", method=STORED), inner), (entry("in", method=STORED), b"y" * 50))
    second = content.index(CENTRAL, content.index(CENTRAL) + 1)
    return patched(content, content[second : second + 30], 42, "<L", content.index(inner))


REFUSED: dict[str, tuple[bytes, str]] = {
    "parent": (named("../evil"), r"leads out of the package by \.\."),
    "parent inside": (named("a/../../evil"), r"leads out of the package by \.\."),
    "absolute": (named("/etc/cron.d/evil"), "must be a relative path"),
    "drive letter": (named("C:/evil"), "must be a relative path"),
    "backslash": (renamed(named("..!evil"), b"..!evil", b"..\\evil"), "must be a relative path"),
    "symlink": (packed((entry("a", stat.S_IFLNK | 0o777), b"/etc")), "'a' is a link"),
    "symlink written through": (
        packed((entry("a", stat.S_IFLNK | 0o777), b"/tmp"), (entry("a/evil"), b"x")),
        "'a' is a link",
    ),
    "device": (packed((entry("a", stat.S_IFCHR | 0o666), b"")), "'a' is a device or pipe"),
    "pipe": (packed((entry("a", stat.S_IFIFO | 0o666), b"")), "'a' is a device or pipe"),
    "setuid": (packed((entry("a", stat.S_IFREG | 0o4755), b"x")), "'a' has a setuid or setgid bit"),
    "setgid": (packed((entry("a", stat.S_IFREG | 0o2755), b"x")), "'a' has a setuid or setgid bit"),
    "folder with contents": (packed((entry("a/", stat.S_IFDIR | 0o755), b"x")), "is a folder with contents"),
    "file called a folder": (packed((entry("a", stat.S_IFDIR | 0o755), b"")), "'a' is both a file and a folder"),
    "duplicate": (renamed(named("a", "b"), b"b", b"a"), "'a' is there twice"),
    "duplicate in other words": (named("a/b", "./a//b"), "'a/b' is there twice"),
    "case": (named("App.py", "app.py"), "'App.py' and 'app.py' differ only in case"),
    "accents": (named("é", "e\u0301"), "differ only in case or accents"),
    "file and folder": (named("a", "a/b"), "'a' is both a file and a folder"),
    "NUL": (renamed(named("app.py!.txt"), b"app.py!", b"app.py\0"), "control characters"),
    "newline": (named("a\nb"), "control characters"),
    "escape sequence": (named("\x1b[2Ja"), "control characters"),
    "right to left": (named("a\u202eyp.exe"), "control characters"),
    "not utf-8": (renamed(named("a!b"), b"a!b", b"a\xffb"), "is neither ASCII nor UTF-8"),
    "not the utf-8 it says": (renamed(named("aé"), "aé".encode(), b"a\xff\xff"), "says it is UTF-8 and is not"),
    "long part": (named("a" * 256), "too long a path"),
    "long path": (named("/".join(["aaaaaaaaa"] * 120)), "too long a path"),
    "too deep": (named("/".join("a" * 33)), "lies 33 names deep, must be at most 32"),
    "too many": (named(*(f"f{place}" for place in range(51))), "more than 50 files and folders"),
    "too many parts": (named("/".join("abcdefghijklmnop"), *(f"f{n}" for n in range(36))), "more than 50 files"),
    "bomb": (packed((entry("a"), b"\0" * 8_000_000)), "more than 1000000 bytes"),
    "bomb in parts": (packed(*((entry(f"a{n}"), b"\0" * 400_000) for n in range(3))), "more than 1000000 bytes"),
    "bomb that says it is small": (
        patched(patched(packed((entry("a"), b"\0" * 8_000_000)), LOCAL, 22, "<L", 10), CENTRAL, 24, "<L", 10),
        "holds more than the 10 bytes it says",
    ),
    "larger than it says": (
        patched(patched(PLAIN, LOCAL, 22, "<L", 900), CENTRAL, 24, "<L", 900),
        "holds more than the 900 bytes it says",
    ),
    "smaller than it says": (
        patched(patched(PLAIN, LOCAL, 22, "<L", 1100), CENTRAL, 24, "<L", 1100),
        "ends after 1000 of 1100 bytes",
    ),
    "other size in its own header": (patched(PLAIN, LOCAL, 22, "<L", 5), "one thing in its own header"),
    "other name in its own header": (renamed(PLAIN, b"app.py", b"evilpy", 1), "another name in its own header"),
    "other method in its own header": (patched(PLAIN, LOCAL, 8, "<H", 0), "one thing in its own header"),
    "overlapping": (overlapping(), "lies over another one"),
    "a member inside a member": (quoted(), "lies over another one"),
    "reaching into the directory": (
        patched(patched(KEPT, LOCAL, 18, "<L", 1010), CENTRAL, 20, "<L", 1010),
        "lies over another one",
    ),
    "header elsewhere": (patched(PLAIN, CENTRAL, 42, "<L", 7), "is not where the archive's directory says"),
    "header behind the end": (patched(PLAIN, CENTRAL, 42, "<L", 0x7FFF_FFFF), "is not where the archive's directory"),
    "encrypted": (patched(PLAIN, CENTRAL, 8, "<H", 1), "'app.py' is encrypted"),
    "encrypted by its own header": (patched(PLAIN, LOCAL, 6, "<H", 1), "one thing in its own header"),
    "other method": (packed((entry("a", method=zipfile.ZIP_LZMA), b"x" * 100)), "packed by method 14"),
    "wrong checksum": (renamed(KEPT, b"x" * 1000, b"x" * 999 + b"y"), "its checksum is wrong"),
    "damaged": (patched(PLAIN, b"app.py", 6, "<Q", 0x1234_5678_9ABC_DEF7), "is damaged|is cut off|holds more"),
    "bytes behind its end": (b"", "has bytes behind its end"),
    "zip64 by its end": (patched(PLAIN, END, 16, "<L", 0xFFFF_FFFF), "is a zip64 archive"),
    "zip64 member": (patched(PLAIN, CENTRAL, 24, "<L", 0xFFFF_FFFF), "is one of zip64"),
    "several disks": (patched(PLAIN, END, 4, "<H", 3), "one part of a zip archive"),
    "member of another disk": (patched(PLAIN, CENTRAL, 34, "<H", 3), "lies on another disk"),
    "more members than it has": (
        patched(patched(PLAIN, END, 8, "<H", 2), END, 10, "<H", 2),
        "fewer members than it says",
    ),
    "fewer members than it has": (patched(patched(TWO, END, 8, "<H", 1), END, 10, "<H", 1), "more than it says"),
    "something before it": (b"PK\3\4" + b"#" * 60 + PLAIN, "directory is not where its end says"),
    "something behind it": (PLAIN + b"trailer", "directory is not where its end says"),
    "a second archive behind it": (PLAIN + TWO, "directory is not where its end says"),
    "two ends": (patched(PLAIN, END, 20, "<H", 6) + b"PK\5\6::", "it was cut off"),
    "cut off": (PLAIN[:-10], "it was cut off"),
    "cut off in the middle": (PLAIN[:40], "it was cut off"),
    "nothing": (packed(), "holds no file"),
    "only folders": (packed((entry("a/", stat.S_IFDIR | 0o755), b"")), "holds no file"),
}


def _with_bytes_behind() -> bytes:
    """A member whose packed size covers more than its deflated contents."""
    engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = engine.compress(b"x" * 1000) + engine.flush() + b"hidden"
    content = packed((entry("app.py", method=STORED), data))
    for header, method, crc in ((LOCAL, 8, 14), (CENTRAL, 10, 16)):
        content = patched(content, header, method, "<H", 8)
        content = patched(content, header, crc, "<L", zlib.crc32(b"x" * 1000))
        content = patched(content, header, crc + 8, "<L", 1000)
    return content


REFUSED["bytes behind its end"] = (_with_bytes_behind(), REFUSED["bytes behind its end"][1])


def unpacked(tmp_path: Path, content: bytes, limits: Limits = LIMITS) -> tuple[str, Path]:
    (tmp_path / "archive").write_bytes(content)
    target = tmp_path / "target"
    target.mkdir()
    return unpack(tmp_path / "archive", target, limits), target


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str) -> None:
    content, why = REFUSED[case]
    with pytest.raises(Invalid, match=why) as caught:
        unpacked(tmp_path, content)
    assert caught.value.message.isprintable(), "the sentence itself must be safe to print"
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "target"}, "nothing outside the target"


@pytest.mark.parametrize("method", [STORED, DEFLATED])
def test_files_and_folders_are_kept_with_normal_modes(tmp_path: Path, method: int) -> None:
    content = packed(
        (entry("app.py", stat.S_IFREG | 0o666, method), b"code"),
        (entry("bin/tool", stat.S_IFREG | 0o711, method), b"#!"),
        (entry("of-dos.txt", 0, method, system=0), b"x"),
        (entry("empty/", stat.S_IFDIR | 0o2755), b""),
        (entry("lib/ä.txt", stat.S_IFREG | 0o600, method), os.urandom(300_000)),
    )
    _, target = unpacked(tmp_path, content)
    modes = {str(path.relative_to(target)): stat.S_IMODE(path.stat().st_mode) for path in target.rglob("*")}
    assert modes == {
        "app.py": 0o644, "bin": 0o755, "bin/tool": 0o755, "empty": 0o755, "lib": 0o755, "lib/ä.txt": 0o644,
        "of-dos.txt": 0o644,
    }  # fmt: skip
    assert (target / "app.py").read_bytes() == b"code"
    assert (target / "lib/ä.txt").stat().st_size == 300_000


def test_sizes_that_follow_the_contents_are_read(tmp_path: Path) -> None:
    """As tools write that pack to a pipe."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.written = b""

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.written += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", DEFLATED) as archive:  # type: ignore[arg-type]
        archive.writestr("app.py", "code")
    _, target = unpacked(tmp_path, pipe.written)
    assert (target / "app.py").read_text() == "code"


def test_a_comment_is_no_part_of_it(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("app.py", "code")
        archive.comment = b"by hand"
    _, target = unpacked(tmp_path, out.getvalue())
    assert (target / "app.py").read_text() == "code"


def test_the_same_files_in_a_tar_are_the_same_package(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/app.py").write_text("x")
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first, _ = unpacked(tmp_path / "one", named("app.py"))
    second, _ = unpacked(tmp_path / "two", pack(tmp_path / "code"))
    assert first == second
