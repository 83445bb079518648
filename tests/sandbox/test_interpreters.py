import platform
from pathlib import Path

import pytest

from corral.errors import SandboxFailed
from corral.sandbox import interpreters


def test_the_default_is_the_interpreter_we_run_on() -> None:
    assert interpreters.find_interpreter("python3").version == platform.python_version()


def test_a_launcher_that_fails_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minor = platform.python_version_tuple()[1]
    name = f"python3.{minor}"
    real = interpreters.find_interpreter("python3")
    for folder, script in {"shim": "exit 127", "good": f'exec {real.path} "$@"'}.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/shim:{tmp_path}/good")
    found = interpreters.find_interpreter(name)
    assert (found.path, found.version) == (real.path, real.version)


def test_one_that_is_not_there_is_refused_with_the_names_of_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreters, "_folders", lambda: iter(()))
    with pytest.raises(SandboxFailed, match=r"runtime = 'python3\.99'.*there are python3, none"):
        interpreters.find_interpreter("python3.99")
