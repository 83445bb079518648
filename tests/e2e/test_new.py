"""corral new: what it makes works as it is, in each template."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from corral.cli.new import TEMPLATES

from .server import CORRAL, Server

ANSWERS = {
    "handler": b'{"greeting":"Hello, Ann!"}',
    "main": b'{"greeting":"Hello, Ann!"}',
    "handle": b"Hello, Ann!\n",
    "lambda": b'{"greeting":"Hello, Ann!","milliseconds_left":',
    "async": b'{"greeting":"Hello, Ann!"}',
    "stream": b'{"left":3}\n{"left":2}\n{"left":1}\n{"left":0}\n',
}
"""Of GET ?name=Ann."""


def new(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*CORRAL, "new", *arguments], cwd=folder, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("template", TEMPLATES)
def test_template_is_tested_deployed_and_called(shared: Server, tmp_path: Path, template: str) -> None:
    name = f"new-{template}"
    made = new(tmp_path, name, "--template", template)
    assert (made.returncode, made.stderr) == (0, "")
    assert f"corral dev {name}" in made.stdout
    assert json.loads(shared.ok("deploy", str(tmp_path / name), "--json"))[0]["name"] == name
    assert shared.ask("GET", f"/function/{name}?name=Ann").body.startswith(ANSWERS[template])
    own = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", name],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert own.returncode == 0, own.stdout


def test_style_is_the_templates_other_name(tmp_path: Path) -> None:
    assert new(tmp_path, "mine", "--style", "main").returncode == 0
    assert "def main(args)" in (tmp_path / "mine/handler.py").read_text()


def test_what_is_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    refused = new(tmp_path, "mine")
    assert refused.returncode == 2
    assert refused.stderr == "corral: mine is there already, must be a new folder; nothing was changed\n"
    assert list((tmp_path / "mine").iterdir()) == []


def test_name_must_be_one_for_a_function(tmp_path: Path) -> None:
    refused = new(tmp_path, "My_Function")
    assert (refused.returncode, "name = 'My_Function', must be a DNS label" in refused.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []
