"""What `corral scaling` sends for what was typed."""

from typing import Any

import pytest

from corral.cli.scaling import changed

SAID = {"engine": "knative", "target": 50, "window_s": 30}


@pytest.mark.parametrize(
    ("pairs", "sent"),
    [
        (["min=2", "max=20", "idle_s=7.5"], {"min": 2, "max": 20, "idle_s": 7.5}),
        (["max="], {"max": None}),
        (["target=70"], {"scaling": {"engine": "knative", "target": 70, "window_s": 30}}),
        (["target="], {"scaling": {"engine": "knative", "window_s": 30}}),
        (["engine=knative", "target=1"], {"scaling": {"engine": "knative", "target": 1, "window_s": 30}}),
        (["engine=corral", "max=5"], {"max": 5, "scaling": {"engine": "corral"}}),
    ],
)
def test_pairs_are_set_over_what_was_said_before(pairs: list[str], sent: dict[str, Any]) -> None:
    assert changed(SAID, tuple(pairs)) == sent
