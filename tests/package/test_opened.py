"""An archive stands for the folder in it, wherever that begins."""

import zipfile
from pathlib import Path

import pytest

from corral.package.opened import opened


def packed(folder: Path, *names: str) -> Path:
    archive = folder / "code.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for name in names:
            made.writestr(name, "" if name.endswith("/") else name)
    return archive


@pytest.mark.parametrize(
    ("names", "handler", "file"),
    [
        (["handler.py"], None, "handler.py"),
        (["repo-main/", "repo-main/handler.py", "repo-main/lib/words.py"], None, "handler.py"),
        (["repo-main/handler.py"], "handler.py:main", "handler.py"),
        (["code/handler.py", "__MACOSX/code/._handler.py", ".DS_Store"], None, "handler.py"),
        (["src/app.py"], "src/app.py:main", "src/app.py"),
        (["src/app.py"], "src/app:main", "src/app.py"),
        (["src/app.py", "lib/words.py"], None, "src/app.py"),
        (["src/app.py", "corral.toml"], None, "src/app.py"),
    ],
)
def test_single_folder_of_an_archive_is_the_package(
    tmp_path: Path, names: list[str], handler: str | None, file: str
) -> None:
    with opened(packed(tmp_path, *names), handler) as folder:
        assert (folder / file).is_file()


def test_what_is_no_archive_is_itself(tmp_path: Path) -> None:
    (tmp_path / "code/inner").mkdir(parents=True)
    with opened(tmp_path / "code", None) as folder:
        assert folder == tmp_path / "code"
