"""`corral new`: a folder with a function that works, from one of the templates beside this file."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from corral.errors import Conflict, Invalid
from corral.model import check_name

TEMPLATES = {
    "handler": "handler(event): the JSON body in, JSON out",
    "main": "main(args): as OpenWhisk's actions",
    "handle": "handle(event, context): the whole request, as OpenFaaS's handlers",
    "lambda": "handler(event, context): as AWS Lambda's handlers",
    "async": "async: one instance answers many calls at once",
    "stream": "a generator, streamed",
}
SUFFIX = ".template"
SHARED = "any"
"""The folder whose files every function gets."""


@click.command(epilog="\b\nTemplates:\n" + "\n".join(f"  {name:9} {said}" for name, said in TEMPLATES.items()))
@click.argument("path", metavar="NAME", type=click.Path(path_type=Path))
@click.option(
    "-t", "--template", "--style", "template",
    type=click.Choice(list(TEMPLATES)), default="handler", show_default=True,
)  # fmt: skip
def new(path: Path, template: str) -> None:
    """Make the folder NAME with a function, a test of it, and its settings. NAME may be a path; its last part is the
    function's name."""
    name = check_name("name", path.absolute().name)
    try:
        path.mkdir(parents=True)
    except FileExistsError as exc:
        raise Conflict(f"{path} is there already, must be a new folder; nothing was changed") from exc
    except OSError as exc:
        raise Invalid(f"{path} cannot be made: {exc.strerror}") from exc
    written = sorted(_write(file, path, name) for file in _files(template))
    click.echo(f"made {path}/ with {', '.join(written)}")
    for command, what in (
        (f"corral dev {path}", "serves it here, anew at each save"),
        (f"python -m pytest {path}", "runs its tests"),
        (f"corral deploy {path}", "deploys it to a running server"),
    ):
        click.echo(f"  {command:{len(str(path)) + 18}}  {what}")


def _files(template: str) -> list[Traversable]:
    folder = files("corral.cli") / "templates"
    return [file for part in (template, SHARED) for file in (folder / part).iterdir() if file.name.endswith(SUFFIX)]


def _write(file: Traversable, folder: Path, name: str) -> str:
    written = file.name.removesuffix(SUFFIX)
    (folder / written).write_text(file.read_text(encoding="utf-8").replace("NAME", name), encoding="utf-8")
    return written
