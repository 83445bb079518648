"""Archives from outside: what is refused, each for its own reason, and what is kept."""

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from corral.errors import Invalid
from corral.package.archive import Limits, unpack

LIMITS = Limits(bytes_max=1_000_000, members_max=50)
Build = Callable[[tarfile.TarFile], None]


def file(name: str, content: bytes = b"x", mode: int = 0o644, **fields: object) -> Build:
    def build(tar: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(content), mode
        for field, value in fields.items():
            setattr(member, field, value)
        tar.addfile(member, io.BytesIO(content))

    return build


def other(name: str, kind: bytes, target: str = "") -> Build:
    def build(tar: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        tar.addfile(member)

    return build


def folder(name: str) -> Build:
    return other(name, tarfile.DIRTYPE)


def packed(*builds: Build) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for build in builds:
            build(tar)
    return out.getvalue()


def unpacked(tmp_path: Path, content: bytes, limits: Limits = LIMITS) -> tuple[str, Path]:
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "archive").write_bytes(content)
    target = tmp_path / "target"
    target.mkdir()
    return unpack(tmp_path / "archive", target, limits), target


def with_raw_size(content: bytes, size_field: bytes) -> bytes:
    """The first header with another size, and the checksum made right again."""
    header = bytearray(content[:512])
    header[124:136] = size_field.ljust(12, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return bytes(header) + content[512:]


MANY = [file(f"f{place}") for place in range(51)]
PLAIN = packed(file("app.py", b"x" * 1000))

LONG_NAME = tarfile.TarInfo("././@LongLink")
LONG_NAME.type, LONG_NAME.size = tarfile.GNUTYPE_LONGNAME, 2
CHAINED = (LONG_NAME.tobuf(tarfile.GNU_FORMAT) + b"a\0".ljust(512, b"\0")) * 3000 + PLAIN
"""A name that belongs to a name that belongs to a name …"""

REFUSED: dict[str, tuple[bytes, str]] = {
    "parent": (packed(file("../evil")), r"leads out of the package by \.\."),
    "parent inside": (packed(file("a/../../evil")), r"leads out of the package by \.\."),
    "absolute": (packed(file("/etc/cron.d/evil")), "must be a relative path"),
    "drive letter": (packed(file("C:/evil")), "must be a relative path"),
    "backslash": (packed(file("..\\evil")), "must be a relative path"),
    "symlink": (packed(other("a", tarfile.SYMTYPE, "/etc")), "'a' is a link"),
    "symlink written through": (packed(other("a", tarfile.SYMTYPE, "/tmp"), file("a/evil")), "'a' is a link"),
    "hard link": (packed(other("a", tarfile.LNKTYPE, "/etc/passwd")), "'a' is a link"),
    "character device": (packed(other("a", tarfile.CHRTYPE)), "is a device or pipe"),
    "block device": (packed(other("a", tarfile.BLKTYPE)), "is a device or pipe"),
    "pipe": (packed(other("a", tarfile.FIFOTYPE)), "is a device or pipe"),
    "setuid": (packed(file("a", mode=0o4755)), "'a' has a setuid or setgid bit"),
    "setgid": (packed(file("a", mode=0o2755)), "'a' has a setuid or setgid bit"),
    "unknown kind": (packed(other("a", b"Z")), "is a device or pipe|cannot be read"),
    "sparse": (packed(other("a", tarfile.GNUTYPE_SPARSE)), "is a sparse file|cannot be read"),
    "duplicate": (packed(file("a"), file("a")), "'a' is there twice"),
    "duplicate in other words": (packed(file("a/b"), file("./a//b")), "'a/b' is there twice"),
    "case": (packed(file("App.py"), file("app.py")), "'App.py' and 'app.py' differ only in case"),
    "case of a folder": (packed(file("Lib/a"), file("lib/b")), "'Lib' and 'lib' differ only in case"),
    "accents": (packed(file("é"), file("e\u0301")), "differ only in case or accents"),
    "file and folder": (packed(file("a"), file("a/b")), "'a' is both a file and a folder"),
    "folder and file": (packed(file("a/b"), file("a")), "'a' is both a file and a folder"),
    "newline": (packed(file("a\nb")), "control characters"),
    "escape sequence": (packed(file("\x1b[2Ja")), "control characters"),
    "not utf-8": (packed(file("a\udcff")), "control characters or bytes that are not UTF-8"),
    "long part": (packed(file("a" * 256)), "too long a path"),
    "long path": (packed(file("/".join(["aaaaaaaaa"] * 120))), "too long a path"),
    "too many": (packed(*MANY), "more than 50 files and folders"),
    "too many parts": (packed(file("/".join("abcdefghijklmnop"), b""), *MANY[:35]), "more than 50 files and folders"),
    "too deep": (packed(file("/".join("a" * 33))), "lies 33 names deep, must be at most 32"),
    "long names of long names": (CHAINED, "long names are nested too deeply"),
    "too large": (packed(file("a", b"x" * 600_000), file("b", b"x" * 600_000)), "more than 1000000 bytes"),
    "too large by its word": (with_raw_size(PLAIN, b"77777777777"), "more than 1000000 bytes"),
    "negative size": (with_raw_size(PLAIN, b"\xff" * 12), "cannot be read|says it has"),
    "cut off": (PLAIN[:700], "cannot be read|ends after"),
    "gzip bomb": (gzip.compress(packed(file("a", b"\0" * 8_000_000))), "more than 1000000 bytes"),
    "gzip bomb in a header": (
        gzip.compress(packed(file("a", b"\0", pax_headers={"comment": "x" * 8_000_000}))),
        "more than .* bytes",
    ),
    "gzip in gzip": (gzip.compress(gzip.compress(PLAIN)), "cannot be read"),
    "gzip cut off": (gzip.compress(PLAIN)[:-20], "cannot be read"),
    "gzip damaged": (gzip.compress(os.urandom(5000))[:2000] + b"\0" * 2000, "cannot be read"),
    "packed with xz": (lzma.compress(PLAIN), "packed with xz, must be a zip or a tar"),
    "packed with bzip2": (bz2.compress(PLAIN), "packed with bzip2, must be a zip or a tar"),
    "no archive": (b"hello" * 500, "cannot be read"),
    "only folders": (packed(folder("a")), "holds no file"),
    "nothing": (packed(), "holds no file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str) -> None:
    content, why = REFUSED[case]
    with pytest.raises(Invalid, match=why) as caught:
        unpacked(tmp_path, content)
    assert caught.value.message.isprintable(), "the sentence itself must be safe to print"
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "target"}, "nothing outside the target"


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_files_and_folders_are_kept_with_normal_modes(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    content = packed(
        folder("./"),
        file("./app.py", b"code", 0o666),
        file("bin/tool", b"#!", 0o711),
        file("PKG-INFO"),
        folder("empty"),
        file("lib/ä.txt", b"\0" * 300_000),
    )
    _, target = unpacked(tmp_path, compress(content))
    found = {str(path.relative_to(target)): path for path in target.rglob("*")}
    assert sorted(found) == ["PKG-INFO", "app.py", "bin", "bin/tool", "empty", "lib", "lib/ä.txt"]
    modes = {name: stat.S_IMODE(path.stat().st_mode) for name, path in found.items()}
    assert modes == {
        "PKG-INFO": 0o644, "app.py": 0o644, "bin": 0o755, "bin/tool": 0o755, "empty": 0o755, "lib": 0o755,
        "lib/ä.txt": 0o644,
    }  # fmt: skip
    assert found["app.py"].read_bytes() == b"code"
    assert found["lib/ä.txt"].stat().st_size == 300_000
    assert stat.S_IMODE(target.stat().st_mode) == 0o755


def test_the_deepest_folder_allowed_is_kept(tmp_path: Path) -> None:
    deep = "/".join("a" * 31)
    _, target = unpacked(tmp_path, packed(file(f"{deep}/one"), file(f"{deep}/two"), file("a/three"), folder(deep)))
    assert sorted(path.name for path in target.rglob("*") if path.is_file()) == ["one", "three", "two"]


def test_the_hash_is_of_the_contents_alone(tmp_path: Path) -> None:
    one = packed(file("a", b"1", mtime=1), file("b", b"2", uid=5))
    same = gzip.compress(packed(folder("."), file("./b", b"2"), file("a", b"1", mtime=99, mode=0o600)))
    first, _ = unpacked(tmp_path / "1", one)
    assert unpacked(tmp_path / "2", same)[0] == first
    for place, different in enumerate(
        [
            packed(file("a", b"1"), file("b", b"3")),
            packed(file("a", b"1"), file("c", b"2")),
            packed(file("a", b"1"), file("b", b"2", mode=0o755)),
            packed(file("a", b"1"), file("b", b"2"), folder("c")),
        ]
    ):
        assert unpacked(tmp_path / f"other{place}", different)[0] != first
