"""docs/scaling.md names every engine, and every setting with its default and range."""

from pathlib import Path

import msgspec
import pytest

from corral.policy import SCALERS
from corral.policy.settings import allowed

PAGE = (Path(__file__).parents[2] / "docs/scaling.md").read_text()


@pytest.mark.parametrize("engine", SCALERS)
def test_every_setting_is_documented_as_it_is(engine: str) -> None:
    section = PAGE.partition(f"\n## `{engine}`\n")[2].partition("\n## ")[0]
    rows = {row.split(" | ")[0].strip("| `"): row.split(" | ")[1:3] for row in section.splitlines() if row[:3] == "| `"}
    fields = msgspec.structs.fields(SCALERS[engine].settings)
    assert rows == {field.encode_name: [_shown(field.default), allowed(field.type)] for field in fields}


def _shown(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
