"""What a package says it needs: when two mean the same, what counts, and what is refused."""

from pathlib import Path

import pytest

from corral.errors import Invalid
from corral.package.layer import FILES_MAX, Dependencies, dependencies, interpreter_tag, layer_key


def package(folder: Path, **files: str) -> Path:
    """Names with `__` for `.` and `_in_` for `/`."""
    for name, text in files.items():
        path = folder / name.replace("_in_", "/").replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def found(tmp_path: Path, requirements: str, **files: str) -> Dependencies:
    read = dependencies(package(tmp_path, requirements__txt=requirements, **files))
    assert read is not None
    return read


EQUAL = {
    "order": ("a\nb\n", "b\na\n"),
    "case and separators": ("Ruamel.YAML", "ruamel-yaml"),
    "spaces": ("jinja2 >= 3 , < 4", "jinja2<4,>=3"),
    "parentheses": ("jinja2 (>=3)", "jinja2>=3"),
    "comments": ("# what we need\njinja2  # templates\n\n", "jinja2"),
    "twice": ("a\na\n", "a"),
    "line breaks": ("a>=1,\\\n  <2\n", "a>=1,<2"),
    "extras": ("a[b, c]", "a[b,c]"),
    "carriage returns": ("a\r\nb\r\n", "a\nb\n"),
    "byte order mark": ("\ufeffa", "a"),
}
DIFFERENT = {
    "a line below a comment that ends in a backslash": ("a\n# \\\n./own-1-py3-none-any.whl\n", "a"),
    "a line below such a comment beside a name": ("a  # \\\nb\n", "a"),
    "version": ("a==1", "a==2"),
    "another": ("a", "a\nb"),
    "marker": ("a; python_version<'3.12'", "a"),
    "hash": ("a==1 --hash=sha256:00", "a==1 --hash=sha256:11"),
    "extra": ("a[b]", "a"),
    "index": ("--index-url https://one.example/simple\na", "--index-url https://two.example/simple\na"),
    "address": ("a @ https://example.com/a-1.whl", "a @ https://example.com/a-2.whl"),
}


@pytest.mark.parametrize("case", EQUAL)
def test_words_that_mean_the_same_share_a_layer(tmp_path: Path, case: str) -> None:
    one, other = EQUAL[case]
    assert found(tmp_path / "1", one) == found(tmp_path / "2", other)


@pytest.mark.parametrize("case", DIFFERENT)
def test_words_that_mean_something_else_do_not(tmp_path: Path, case: str) -> None:
    one, other = DIFFERENT[case]
    first, second = found(tmp_path / "1", one), found(tmp_path / "2", other)
    assert layer_key(first, "python3", "p") != layer_key(second, "python3", "p")


LOCAL = ["./wheels/mine-1.0-py3-none-any.whl", "wheels/mine.tar.gz", "mine-1.0-py3-none-any.whl", "-e .", ".",
         "mine @ file:///package/mine", "--find-links ./wheels", "-f wheels", "/package/mine", "lib",
         "--unheard-of x"]  # fmt: skip
REMOTE = ["mine", "mine==1.0", "mine @ https://example.com/mine.whl", "mine @ git+https://example.com/mine",
          "--index-url https://example.com/simple", "-i https://example.com/simple", "--pre",
          "-f https://example.com/wheels", "mine==1 --hash=sha256:00"]  # fmt: skip


@pytest.mark.parametrize("line", LOCAL)
def test_what_lies_in_the_package_makes_it_part_of_the_key(tmp_path: Path, line: str) -> None:
    read = found(tmp_path, f"{line}\nother\n", lib_in_app__py="")
    assert read.is_local
    assert layer_key(read, "python3", "1" * 64) != layer_key(read, "python3", "2" * 64)


@pytest.mark.parametrize("line", REMOTE)
def test_a_changed_package_keeps_the_layer_of_what_comes_from_elsewhere(tmp_path: Path, line: str) -> None:
    read = found(tmp_path, f"{line}\nother\n")
    assert not read.is_local
    assert layer_key(read, "python3", "1" * 64) == layer_key(read, "python3", "2" * 64)


def test_installers_are_given_what_the_key_covers_and_not_the_file(tmp_path: Path) -> None:
    text = (
        "Mine [b] >= 1 ; python_version < '4'  # why\n-r more.txt\n-c bounds.txt\n--pre\nz==1 \\\n  --hash=sha256:00\n"
    )
    read = found(tmp_path, text, more__txt="other\n", bounds__txt="z<2\n")
    assert read.written is not None
    assert set(read.written.requirements.splitlines()) == {
        "mine[b]>=1 ; python_version < '4'", "other", "--pre", "z==1 --hash=sha256:00",
    }  # fmt: skip
    assert read.written.constraints == "z<2\n"
    assert found(tmp_path / "local", "./mine-1.0-py3-none-any.whl\nother\n").written is None


# What Python calls line ends, and installers do not.
@pytest.mark.parametrize("end", ["\x0b", "\x0c", "\x1c", "\x1e", "\x85", "\u2028", "\u2029"])
def test_no_character_hides_a_line_from_the_key(tmp_path: Path, end: str) -> None:
    for text in (f"a{end}./own-1-py3-none-any.whl", f"# why{end}./own-1-py3-none-any.whl\na", f"a>=1{end}./own.whl"):
        read = found(tmp_path, text)
        assert read.is_local or (read.written is not None and "\n./own" not in read.written.requirements)


PLAIN = {"a": True, "a==1": True, "a[b]>=1; python_version<'3'": True, "a @ https://example.com/a.whl": False,
         "--pre": False, "--index-url https://example.com/simple": False, "./a.whl": False}  # fmt: skip


@pytest.mark.parametrize("line", PLAIN)
def test_plain_is_what_the_index_alone_answers(tmp_path: Path, line: str) -> None:
    assert found(tmp_path, line).is_plain == PLAIN[line]


def test_each_interpreter_version_has_its_own_layer(tmp_path: Path) -> None:
    read = found(tmp_path, "a")
    keys = {layer_key(read, runtime, "p") for runtime in ("python3.9", "python3.12", "python3.13")}
    assert len(keys) == 3
    assert interpreter_tag("python3") in {interpreter_tag(f"python3.{minor}") for minor in range(11, 20)}


def test_included_files_count_as_if_they_stood_there(tmp_path: Path) -> None:
    read = found(tmp_path / "1", "-r more/all.txt\na\n-c limits.txt\n", more_in_all__txt="-r deep.txt\nb\n",
                 more_in_deep__txt="c", limits__txt="d<2")  # fmt: skip
    assert read.lines == ("-c d<2", "a", "b", "c")


REFUSED = {
    "included from outside": (
        "-r ../secret.txt",
        r"requirements.txt line 1: ../secret.txt, must be a file of the pack",
    ),
    "included by its full path": ("-r /etc/passwd", "line 1: /etc/passwd, must be a file of the package"),
    "included from elsewhere": ("a\n-r https://example.com/r.txt", "line 2: .* not one from elsewhere"),
    "not there": ("--requirement missing.txt", "missing.txt, must be a file of the package; there is none"),
    "environment": ("a @ https://example.com/${UV_TOKEN}", r"no environment variable is filled in"),
    "too many lines": ("\n".join(f"a{n}" for n in range(10_001)), "more than 10000 requirements"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str) -> None:
    text, why = REFUSED[case]
    with pytest.raises(Invalid, match=why):
        found(tmp_path, text)


def test_files_that_include_each_other_end(tmp_path: Path) -> None:
    assert found(tmp_path / "1", "-r other.txt\na", other__txt="-r requirements.txt\nb").lines == ("a", "b")
    chain = {f"r{n}__txt": f"-r r{n + 1}.txt" for n in range(FILES_MAX + 1)}
    with pytest.raises(Invalid, match=f"more than {FILES_MAX} requirement files"):
        found(tmp_path / "2", "-r r0.txt", **chain)


def test_a_file_that_is_no_text_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Invalid, match=r"requirements.txt: not UTF-8"):
        dependencies(tmp_path)


def test_a_package_that_names_nothing_needs_no_layer(tmp_path: Path) -> None:
    assert dependencies(package(tmp_path / "1", app__py="")) is None
    assert dependencies(package(tmp_path / "2", requirements__txt="# nothing\n\n")) is None
    assert dependencies(package(tmp_path / "3", pyproject__toml="[tool.ruff]\n")) is None
    assert dependencies(package(tmp_path / "4", pyproject__toml="[project]\nname='a'\ndependencies=[]\n")) is None


def test_a_project_says_it_where_there_is_no_requirements_file(tmp_path: Path) -> None:
    project = "[project]\nname = 'x'\ndependencies = ['Jinja2>=3', 'a']\n"
    read = dependencies(package(tmp_path / "1", pyproject__toml=project))
    assert read is not None and (read.source, read.lines) == ("pyproject.toml", ("a", "jinja2>=3"))
    both = dependencies(package(tmp_path / "2", pyproject__toml=project, requirements__txt="b"))
    assert both is not None and (both.source, both.lines) == ("requirements.txt", ("b",))
    sourced = project + "[tool.uv.sources]\na = {path = 'a'}\n"
    local = dependencies(package(tmp_path / "3", pyproject__toml=sourced))
    assert local is not None and local.is_local


@pytest.mark.parametrize(
    ("project", "why"),
    [
        ("[project", "not TOML"),
        ("[project]\ndynamic = ['dependencies']\n", "is dynamic, must be a list"),
        ("[project]\ndependencies = 'a'\n", "must be a list of texts"),
        ("[project]\ndependencies = ['a b c']\n", "has 'a b c', must be as in"),
    ],
)
def test_a_project_that_cannot_be_understood_is_a_sentence(tmp_path: Path, project: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        dependencies(package(tmp_path, pyproject__toml=project))
