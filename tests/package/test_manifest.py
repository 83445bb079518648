"""corral.toml and flags become specs; every mistake is a sentence."""

from pathlib import Path

import pytest

from corral.errors import Invalid
from corral.package.manifest import KEYS, duration_s, read_deployments


def folder(tmp_path: Path, toml: str, *files: str) -> Path:
    (tmp_path / "corral.toml").write_text(toml)
    for name in files:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("def main(args): return {}\n")
    return tmp_path


def problems(path: Path, name: str | None = None, **flags: object) -> tuple[str, ...]:
    with pytest.raises(Invalid) as caught:
        read_deployments(path, name, None, flags)
    return caught.value.problems


def test_file_is_deployed_under_the_given_name(tmp_path: Path) -> None:
    file = tmp_path / "hello.py"
    file.write_text("")
    (only,) = read_deployments(file, "hello", None, {"memory": 64, "timeout": "2m"})
    assert (only.namespace, only.name, only.path) == ("default", "hello", file)
    assert (only.spec.memory_mib, only.spec.timeout_s) == (64, 120.0)


def test_file_needs_a_name(tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text("")
    (problem,) = problems(tmp_path / "hello.py")
    assert "name is missing: corral deploy NAME" in problem


def test_manifest_names_the_function_and_flags_win(tmp_path: Path) -> None:
    path = folder(tmp_path, 'name = "a"\nnamespace = "team"\nmemory = 64\ncpu = 2\nenv = {A = "1", B = "2"}\n')
    (only,) = read_deployments(path, None, None, {"memory": 128, "env": {"B": "3"}})
    assert (only.namespace, only.name) == ("team", "a")
    assert (only.spec.memory_mib, only.spec.cpu, only.spec.env) == (128, 2.0, {"A": "1", "B": "3"})


def test_many_functions_share_what_stands_above_them(tmp_path: Path) -> None:
    path = folder(
        tmp_path,
        'memory = 64\n[functions.a]\npath = "a.py"\n[functions.b]\npath = "b"\nmemory = 32\ntimeout = "500ms"\n',
        "a.py",
        "b/x.py",
    )
    a, b = read_deployments(path, None, None, {})
    assert (a.name, a.path, a.spec.memory_mib) == ("a", path / "a.py", 64)
    assert (b.name, b.path, b.spec.memory_mib, b.spec.timeout_s) == ("b", path / "b", 32, 0.5)


def test_name_picks_one_of_many(tmp_path: Path) -> None:
    path = folder(tmp_path, "[functions.a]\n[functions.b]\n", "a.py")
    assert [each.name for each in read_deployments(path, "b", None, {})] == ["b"]
    (problem,) = problems(path, "c")
    assert problem.startswith("name = 'c', must be one of those in")


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        ("name = ]", "corral.toml: not TOML: Invalid value (at line 1, column 8)"),
        ('name = "a"\nmemroy = 64', "corral.toml: memroy is not known; did you mean memory?"),
        ('name = "a"\nxyzzy = 64', "corral.toml: xyzzy is not known; there are handler, style"),
        ('name = "a"\nmemory = "lots"', "corral.toml: memory = 'lots', must be a whole number"),
        ('name = "a"\nmemory = true', "corral.toml: memory = True, must be a whole number"),
        ('name = "a"\nmemory = -1', "corral.toml: memory = -1, must be between 32 and 1048576"),
        ('name = "a"\ncpu = nan', "corral.toml: cpu = nan, must be between 0.05 and 1024"),
        ('name = "a"\ntimeout = "soon"', "corral.toml: timeout = 'soon', must be a time, as in"),
        ('name = "a"\nstyle = "handel"', "corral.toml: style = 'handel', must be one of main, handle, handler, lambda"),
        ('name = "a"\nmin = 5\nmax = 2', "corral.toml: min = 5, must not be above max = 2"),
        ('name = "a"\nhandler = "../x.py:main"', "corral.toml: handler = '../x.py:main', must be file:function"),
        ('name = "a"\nprivate = "yes"', "corral.toml: private = 'yes', must be true or false"),
        ('name = "a"\nenv = ["A"]', "corral.toml: env = ['A'], must be a table of texts"),
        ('name = "a"\n[env]\n"1A" = "x"', "corral.toml: env name '1A', must be letters"),
        ('name = "Ä"', "name = 'Ä', must be a DNS label"),
        ("name = 5", "corral.toml: name = 5, must be text in quotes"),
        ("memory = 64", "corral.toml: name is missing"),
        ("functions = 5", "corral.toml: functions = 5, must be tables"),
        ('name = "a"\n[functions.b]', "corral.toml: name = 'a', must not stand beside [functions.…]"),
        ('[functions.b]\npath = "../x"', "corral.toml: functions.b.path = '../x', must lie below"),
        ('[functions.b]\npath = "gone.py"', "corral.toml: functions.b.path = 'gone.py', must be a file or folder"),
        ("[functions.b]\nmemory = 1", "corral.toml: functions.b.memory = 1, must be between"),
        ("[functions]\nb = 1", "corral.toml: functions.b = 1, must be a table"),
        ('name = "a"\nscaling = 5', "corral.toml: scaling = 5, must be a table, as in {engine ="),
        (
            'name = "a"\n[scaling]\nengine = "knativ"',
            "corral.toml: scaling.engine = 'knativ', must be one of corral, knative",
        ),
        (
            '[functions.b.scaling]\nengine = "knative"\nwindow_s = 1',
            "corral.toml: functions.b.scaling.window_s = 1, must be a whole number between 6 and 3600",
        ),
        ("[functions.B_b]", "name = 'B_b', must be a DNS label"),
    ],
)
def test_mistake_names_file_field_value_and_what_would_be_right(tmp_path: Path, toml: str, sentence: str) -> None:
    (problem,) = problems(folder(tmp_path, toml))
    assert sentence in problem


def test_all_mistakes_come_at_once(tmp_path: Path) -> None:
    path = folder(tmp_path, '[functions.a]\nmemory = "x"\n[functions.b]\ncpu = "y"\n[functions.c]\nstile = 1\n')
    assert len(problems(path, timeout="never")) == 6  # three of the file, and the flag's for each function


def test_wrong_flag_is_called_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("")
    assert problems(tmp_path / "a.py", "a", memory=1) == ("--memory = 1, must be between 32 and 1048576",)


def test_scaling_is_said_by_table_or_flag(tmp_path: Path) -> None:
    path = folder(tmp_path, 'name = "a"\n[scaling]\nengine = "knative"\ntarget = 50\n')
    (only,) = read_deployments(path, None, None, {})
    assert only.spec.scaling == {"engine": "knative", "target": 50}
    (only,) = read_deployments(path, None, None, {"scaling": "engine=corral,utilization_percent=50"})
    assert only.spec.scaling == {"engine": "corral", "utilization_percent": 50}
    (problem,) = problems(path, scaling="engine=knative,target=0")
    assert problem.startswith("--scaling.target = 0, must be a number between 0.01 and")
    (problem,) = problems(path, scaling="knative")
    assert problem == "--scaling = 'knative', has 'knative', must be KEY=VALUE, as in engine=knative"


def test_missing_path_is_named(tmp_path: Path) -> None:
    assert problems(tmp_path / "gone", "a") == (f"path = {tmp_path}/gone, must be a file or folder; there is none",)


@pytest.mark.parametrize(
    ("said", "meant"), [(30, 30), (0.5, 0.5), ("30", 30), ("30s", 30), ("500ms", 0.5), ("2m", 120), ("1h", 3600)]
)
def test_duration_is_read_in_seconds(said: object, meant: float) -> None:
    assert duration_s(said) == meant


def test_every_setting_of_a_function_has_a_key() -> None:
    from corral.model import FunctionSpec

    assert {key.field for key in KEYS.values()} == set(FunctionSpec.__struct_fields__)
