"""The command itself: help without imports, faults as sentences, exit codes for scripts."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from corral import errors
from corral.cli.main import COMMANDS, FAILED, NOT_FOUND, UNAUTHORISED, UNREACHABLE, USAGE, cli, exit_code


def corral(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "corral.cli.main", *arguments], capture_output=True, text=True, timeout=30
    )


def test_help_imports_nothing_but_click() -> None:
    code = (
        "import sys; from corral.cli.main import cli; cli(['--help'], standalone_mode=False);"
        "print(sorted(name for name in sys.modules if name.startswith('corral')), 'msgspec' in sys.modules,"
        "'http.client' in sys.modules, 'asyncio' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (
        done.stdout.splitlines()[-1] == "['corral', 'corral.cli', 'corral.cli.main', 'corral.errors'] False False False"
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_exists_and_explains_itself(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert f"Usage: cli {name}" in result.output


def test_commands_that_read_print_json() -> None:
    for name in ("list", "describe", "logs", "invoke", "deploy", "doctor", "version"):
        assert "--json" in CliRunner().invoke(cli, [name, "--help"]).output


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (errors.Invalid("x"), USAGE),
        (errors.BadConfiguration("x"), USAGE),
        (errors.DataFolderBusy("x"), USAGE),
        (errors.NotFound("x"), NOT_FOUND),
        (errors.Unavailable("x"), UNREACHABLE),
        (errors.Unauthenticated("x"), UNAUTHORISED),
        (errors.Forbidden("x"), UNAUTHORISED),
        (errors.LoadFailed("x"), FAILED),
        (errors.CorralError("x"), FAILED),
    ],
)
def test_fault_has_its_exit_code(fault: errors.CorralError, code: int) -> None:
    assert exit_code(fault) == code


def test_version_is_printed_for_people_and_programs() -> None:
    assert corral("version").stdout.startswith("corral ")
    assert set(json.loads(corral("version", "--json").stdout)) == {"version"}


def test_wrong_command_and_wrong_flag_end_with_2() -> None:
    assert corral("deplyo").returncode == USAGE
    assert corral("list", "--jsn").returncode == USAGE


def test_server_that_is_not_there_ends_with_4_and_says_how_to_start_one() -> None:
    done = corral("list", "--url", "http://127.0.0.1:1")
    assert done.returncode == UNREACHABLE
    assert done.stderr == (
        "corral: no answer from http://127.0.0.1:1: Connection refused; "
        "`corral up` starts a server, --url or CORRAL_URL names another\n"
    )


@pytest.mark.parametrize("url", ["http://127.0.0.1:abc", "127.0.0.1:80", "http://127.0.0.1:0"])
def test_url_that_is_none_is_a_sentence(url: str) -> None:
    done = corral("list", "--url", url)
    assert (done.returncode, done.stderr) == (
        USAGE,
        f"corral: url = {url!r}, must be http://HOST:PORT or https://HOST:PORT\n",
    )


def test_every_mistake_in_what_is_deployed_is_a_line_of_its_own() -> None:
    done = corral("deploy", "Bad_Name", __file__, "--memory", "1", "--timeout", "soon", "--url", "http://127.0.0.1:1")
    assert done.returncode == USAGE
    assert [line.split(",")[0] for line in done.stderr.splitlines()] == [
        "corral: name = 'Bad_Name'",
        "corral: --timeout = 'soon'",
        "corral: --memory = 1",
    ]


def test_deploy_without_path_says_what_is_missing() -> None:
    done = corral("deploy", "hello")
    assert done.returncode == USAGE
    assert "PATH is missing: corral deploy hello PATH" in done.stderr


def test_reader_that_leaves_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m corral.cli.main up --help | head -1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout.startswith("Usage:")
    assert done.stderr == ""
