"""docs/scaling.md names every engine, every setting with its default and range, and what `describe` shows."""

from pathlib import Path

import msgspec
import pytest

from corral.policy import SCALERS
from corral.policy.settings import allowed

from .stage import Stage
from .test_scalers import SETTINGS

PAGE = (Path(__file__).parents[2] / "docs/scaling.md").read_text()


def section_of(engine: str) -> str:
    return PAGE.partition(f"\n## `{engine}`\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("engine", SCALERS)
def test_every_engine_is_documented(engine: str) -> None:
    assert f"\n| `{engine}` | " in PAGE
    assert section_of(engine)


@pytest.mark.parametrize("engine", SCALERS)
def test_every_input_of_a_decision_is_documented(engine: str) -> None:
    shown = set()
    for said in SETTINGS:
        if said["engine"] == engine:
            stage = Stage(said, 0, 50)
            stage.ask(waiting=2)
            shown |= stage.ask(joined=True).inputs.keys()
    section = section_of(engine)
    assert shown
    assert [name for name in shown if f"`{name}`" not in section] == []


@pytest.mark.parametrize("engine", SCALERS)
def test_every_setting_is_documented_as_it_is(engine: str) -> None:
    table = section_of(engine).partition("\n| key | default |")[2].partition("\n\n")[0]
    rows = {row.split(" | ")[0].strip("| `"): row.split(" | ")[1:3] for row in table.splitlines() if row[:3] == "| `"}
    fields = msgspec.structs.fields(SCALERS[engine].settings)
    assert rows == {field.encode_name: [_shown(field.default), allowed(field.type)] for field in fields}


def _shown(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
