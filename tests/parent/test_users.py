"""The numbers that functions run as belong to nobody else."""

from pathlib import Path

import pytest

from corral.config import Keeper
from corral.errors import BadConfiguration
from corral.parent.users import check_users

DEBIAN = {
    "passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/bin/false\nada:x:1000:1000::/:/bin/sh\n",
    "group": "root:x:0:\nnogroup:x:65534:\nada:x:1000:\n",
    "subuid": "ada:100000:65536\n",
    "subgid": "ada:100000:65536\n",
}
"""A fresh machine after its first user was added."""


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    for name, text in DEBIAN.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def refusal(etc: Path, keeper: Keeper) -> str:
    with pytest.raises(BadConfiguration) as raised:
        check_users(keeper, etc)
    return raised.value.message


def test_default_range_is_free_on_an_ordinary_machine(etc: Path) -> None:
    check_users(Keeper(), etc)


def test_default_range_lies_above_containers_of_systemd_and_below_signed_numbers() -> None:
    keeper = Keeper()
    assert keeper.uid_base > 1_879_048_191
    assert keeper.uid_base + keeper.uid_count <= 2**31


@pytest.mark.parametrize("file", ["subuid", "subgid"])
def test_range_lent_to_rootless_containers_is_refused_by_its_line(etc: Path, file: str) -> None:
    other = "subgid" if file == "subuid" else "subuid"
    (etc / other).unlink()
    said = refusal(etc, Keeper(uid_base=165_535, uid_count=10))
    assert said.startswith("keeper.uid_base = 165535 with keeper.uid_count = 10 takes users 165535 to 165544")
    assert f"{file} lends some of them by its line 'ada:100000:65536'" in said
    check_users(Keeper(uid_base=165_536, uid_count=10), etc)
    check_users(Keeper(uid_base=99_990, uid_count=10), etc)


@pytest.mark.parametrize(("file", "line"), [("passwd", "build:x:200007:100::/:/bin/sh"), ("group", "build:x:200007:")])
def test_number_of_an_existing_user_is_refused(etc: Path, file: str, line: str) -> None:
    with (etc / file).open("a") as known:
        known.write(f"{line}\n")
    assert f"200007 is 'build' in {etc / file}" in refusal(etc, Keeper(uid_base=200_000, uid_count=8))
    check_users(Keeper(uid_base=200_000, uid_count=7), etc)


def test_lines_that_say_nothing_and_missing_files_are_passed_over(etc: Path) -> None:
    (etc / "subuid").write_text("\n# a remark\nada:\nada:x:y\n")
    (etc / "subgid").unlink()
    check_users(Keeper(uid_base=100_000), etc)


def test_range_beyond_the_largest_user_is_refused(etc: Path) -> None:
    assert "must end at 4294967294 or below" in refusal(etc, Keeper(uid_base=2**32 - 10, uid_count=10))
    check_users(Keeper(uid_base=2**32 - 11, uid_count=10), etc)
