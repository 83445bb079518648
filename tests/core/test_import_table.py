"""Who may import whom, as the table of docs/design.md says. The most specific row counts for a module."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import corral

ROOT = Path(corral.__file__).parent
NOUNS = ("model", "errors", "ports", "config", "clock")
DESIGN = Path(__file__).parents[2] / "docs/design.md"


def table_of(design: str) -> dict[str, list[str]]:
    """Room -> rooms it may import, as the table headed `room | may import` says."""
    rows = design.partition("| room | may import |\n| --- | --- |\n")[2].partition("\n\n")[0].splitlines()
    table: dict[str, list[str]] = {}
    for row in rows:
        _, rooms, allowed, _ = (cell.strip() for cell in row.split("|"))
        named = [] if allowed == "nothing" else allowed.split(", ")
        for room in rooms.split(", "):
            assert room not in table, f"{room} has two rows"
            table[room] = [each for name in named for each in (NOUNS if name == "the nouns" else [name])]
    return table


TABLE = table_of(DESIGN.read_text())
NO_OUTSIDERS = ("runtimes",)
"""Rooms that run with the standard library alone."""
OUTSIDERS = ("click", "httptools", "msgspec", "rich", "starlette", "uvicorn", "uvloop", "watchfiles")


def row_of(module: str) -> str | None:
    """The row that counts for `module`, as in `gateway.main`; None: its room is unknown."""
    parts = module.split(".")
    names = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((name for name in names if name in TABLE), None)


def imports_of(file: Path, module: str) -> Iterator[str]:
    """Modules that `file` imports, those of ours without `corral.`; only for typing counts as well."""
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ["corral", *package[: len(package) - node.level + 1]] if node.level else []
            source = ".".join([*start, *([node.module] if node.module else [])])
            # `from corral import link` names the room in the alias.
            for alias in node.names:
                path = f"{source}.{alias.name}"
                is_module = (ROOT.parent / path.replace(".", "/")).is_dir() or (
                    ROOT.parent / f"{path.replace('.', '/')}.py"
                ).is_file()
                yield path if is_module else source


def modules() -> list[tuple[str, Path]]:
    found = []
    for file in sorted(ROOT.rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), file))
    return [(module, file) for module, file in found if module not in ("", "api", "__main__")]


def violations(module: str, imported: list[str]) -> list[str]:
    row = row_of(module)
    if row is None:
        return [f"{module}: its room is not in the table"]
    own, allowed, found = module.split(".")[0], TABLE[row], []
    for name in imported:
        top, _, inner = name.partition(".")
        if top != "corral":
            if own in NO_OUTSIDERS and top in OUTSIDERS:
                found.append(f"{module} imports {name}, must import only the standard library")
            continue
        room = inner.split(".")[0]
        is_own = room == own and (own != "api" or row_of(inner) is not None)
        if inner and not is_own and room not in allowed:
            found.append(f"{module} imports {name}, may import: {', '.join(allowed) or 'nothing'}")
    return found


def test_table_names_rooms_that_are_there() -> None:
    known = {module for module, _ in modules()} | {
        str(path.relative_to(ROOT)).replace("/", ".") for path in ROOT.rglob("*")
    }
    named = set(TABLE) | {room for allowed in TABLE.values() for room in allowed}
    assert len(TABLE) > 20
    assert named - known == set()


@pytest.mark.parametrize(("module", "file"), modules(), ids=[module for module, _ in modules()])
def test_module_imports_only_what_the_table_allows(module: str, file: Path) -> None:
    assert violations(module, list(imports_of(file, module))) == []


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("pool", "corral.link"),
        ("policy.corral", "corral.roster"),
        ("gateway.activator", "corral.engine.fleet"),
        ("runtimes.python.serve", "corral.model"),
        ("runtimes.python.serve", "msgspec"),
        ("helpers", "corral.model"),
    ],
)
def test_table_refuses(module: str, imported: str) -> None:
    assert violations(module, [imported]) != []
