"""Code that cannot be loaded is one clear sentence for whoever connects, and for the log."""

import os

import pytest

from .keeper import Zygote

ROWS: list[tuple[str, dict[str, str], str | None, str]] = [
    ("syntax error", {"handler.py": "x = 1\ndef handler(:\n"}, None, "handler.py line 2: "),
    (
        "missing module",
        {"handler.py": "import json\nimport nosuchmodule\n"},
        None,
        "handler.py line 2 imports nosuchmodule, which is not there",
    ),
    (
        "missing module further in",
        {"handler.py": "import inner\n", "inner.py": "\nimport nosuchmodule\n"},
        None,
        "own package and what its requirements.txt names; add nosuchmodule to requirements.txt",
    ),
    ("package of another name", {"handler.py": "import yaml\n"}, None, "add PyYAML to requirements.txt"),
    ("raises", {"handler.py": "\n1 / 0\n"}, None, "handler.py line 2 raised ZeroDivisionError while it was loaded"),
    ("sys.exit", {"handler.py": "import sys\nsys.exit(4)\n"}, None, "handler.py line 2 called sys.exit(4)"),
    (
        "no function",
        {"handler.py": "def greet(x): pass\n"},
        None,
        "no function main, handle, handler or lambda_handler; it has greet",
    ),
    ("no file", {"notes.txt": "hi"}, None, "the package has no Python file; it has notes.txt"),
    ("several files", {"a.py": "", "b.py": ""}, None, "which file holds the function? The package has a.py, b.py"),
    ("named file missing", {"app.py": ""}, "other.py:main", "the package has no file other.py; it has app.py"),
    ("named function missing", {"app.py": "def f(e): pass"}, "app:main", "app.py has no function main; it has f"),
    ("not a function", {"app.py": "main = 3"}, "app:main", "main in app.py is int, must be a function"),
    ("too many arguments", {"app.py": "def main(a, b, c): pass"}, "app:main", "main(a, b, c), must take one argument"),
    ("nested too deep", {"handler.py": "x = " + "(" * 500 + ")" * 500}, None, "handler.py"),
]


@pytest.mark.parametrize(("files", "handler", "sentence"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_load_failure(any_version: Zygote, files: dict[str, str], handler: str | None, sentence: str) -> None:
    instance = any_version.start(files, handler=handler)
    gateway = instance.connect()
    failed = gateway.wait_failed()
    gateway.close()
    assert sentence in failed["error"]
    assert "_corral" not in failed["traceback"]
    assert "runtimes/python" not in failed["traceback"]
    assert os.waitstatus_to_exitcode(instance.wait_exited()) == 91
    assert sentence in instance.log()


def test_declared_style_must_fit(plain: Zygote) -> None:
    instance = plain.start("def main(args): pass", style="handle")
    error = instance.connect().wait_failed()["error"]
    assert error == "handler.py: the function is main(args), must be handle(event, context) as its style says"


def test_call_already_sent_does_not_hide_the_failure(plain: Zygote) -> None:
    gateway = plain.start("1 / 0").connect()
    gateway.begin(b'{"a": 1}')
    assert "ZeroDivisionError" in gateway.wait_failed()["traceback"]


def test_long_traceback_keeps_its_end(plain: Zygote) -> None:
    gateway = plain.start("raise ValueError('\\u2603' * 90000 + 'the end')").connect()
    failed = gateway.wait_failed()
    assert failed["traceback"].rstrip().endswith("the end")
    assert len(failed["error"]) <= 1000


@pytest.mark.parametrize("name", ["handler.py", "main.py", "app.py", "function.py", "lambda_function.py", "any.py"])
def test_entry_file_by_convention(plain: Zygote, name: str) -> None:
    files = {name: f"def handler(event): return {name!r}"}
    if name != "any.py":
        files["other.py"] = "1 / 0"
    assert plain.start(files).serve().call().body.decode() == name


def test_main_guard_does_not_run(plain: Zygote) -> None:
    files = {"__main__.py": "def main(args): return {'body': __name__}\nif __name__ == '__main__': 1 / 0", "b.py": ""}
    assert plain.start(files).serve().call().body == b"main__"
