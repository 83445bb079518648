"""The engine as a process of its own."""

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from corral.config import EXIT_UNUSABLE
from corral.package.bundle import pack

from .world import boot_of, listening, world


def run_engine(data: Path) -> "subprocess.CompletedProcess[str]":
    with listening(data / "link.sock") as link, listening(data / "api.sock") as api:
        fds = {"link": link.fileno(), "api": api.fileno()}
        boot = msgspec.json.encode(boot_of(data, fds, os.getpid())).decode()
        return subprocess.run(
            [sys.executable, "-P", "-m", "corral.engine.main"],
            env={"CORRAL_BOOT": boot, "PATH": os.environ["PATH"]},
            pass_fds=list(fds.values()),
            capture_output=True,
            text=True,
            timeout=20,
        )


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            '{"memory_mib": "much"}',
            "corral.db holds a record that this version cannot read, function default/hello: Expected `int`, got `str`",
        ),
        (
            '{"scaling": {"engine": "warp"}}',
            "function default/hello is stored with scaling.engine = 'warp', must be one of corral",
        ),
    ],
)
def test_a_record_it_cannot_use_ends_it_for_good_with_one_sentence(tmp_path: Path, spec: str, said: str) -> None:
    async def deploy() -> None:
        (tmp_path / "app.py").write_text("def main(args): return args")
        async with world(tmp_path) as w:
            assert (await w.put("hello", await w.upload(pack(tmp_path / "app.py")), initial=0)).status == 201

    asyncio.run(deploy())
    with contextlib.closing(sqlite3.connect(tmp_path / "corral.db")) as connection:
        connection.execute("UPDATE revisions SET spec = ?", [spec])
        connection.commit()
    ended = run_engine(tmp_path)
    assert ended.returncode == EXIT_UNUSABLE
    assert ended.stderr.count("\n") == 1
    assert said in ended.stderr


def test_a_lost_database_ends_it_before_a_package_is_removed(tmp_path: Path) -> None:
    async def deploy() -> str:
        (tmp_path / "app.py").write_text("def main(args): return args")
        async with world(tmp_path) as w:
            return await w.upload(pack(tmp_path / "app.py"))

    package = tmp_path / "packages/default" / asyncio.run(deploy())
    database = tmp_path / "corral.db"
    for lose in (lambda: database.write_bytes(b""), database.unlink):
        lose()
        for _ in range(2):  # and it stays so: the first start has not made one
            ended = run_engine(tmp_path)
            assert ended.returncode == EXIT_UNUSABLE
            assert ended.stderr == (
                f"{database} is missing or empty, and {tmp_path}/packages holds packages that it should know: "
                f"restore it, or move {tmp_path}/packages away to start empty\n"
            )
            assert package.is_dir()


def test_a_folder_in_place_of_the_database_ends_it_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "corral.db").mkdir()
    ended = run_engine(tmp_path)
    assert ended.returncode == EXIT_UNUSABLE
    assert ended.stderr == f"{tmp_path}/corral.db is a folder, must be a file: move it away\n"
