"""The real trace, where it lies: beside the checkout, or where CORRAL_TRACES says."""

import os
from pathlib import Path

import pytest

SAMPLE = "azure-functions-2019-sample"


def real_trace(name: str) -> Path:
    """The folder of the sample `name`: 500 or 100. Skips the test, and says so, where it is absent."""
    named = os.environ.get("CORRAL_TRACES")
    above = [parent / "shared/traces" for parent in Path(__file__).resolve().parents]
    for place in [Path(named)] if named else above:
        if (place / SAMPLE / name).is_dir():
            return place / SAMPLE / name
    pytest.skip(f"needs {SAMPLE}/{name} in ../shared/traces beside the checkout, or where CORRAL_TRACES says")
