"""One zygote for each interpreter of the machine, with and without a sandbox."""

import os
import sys
from collections.abc import Iterator

import pytest

from .keeper import Zygote, interpreters, zygote

VERSIONS = ("3.9", "3.10", "3.11", "3.12", "3.13")
OWN = f"{sys.version_info[0]}.{sys.version_info[1]}"


def _zygote(version: str, isolated: bool) -> Iterator[Zygote]:
    if version not in interpreters():
        pytest.skip(f"no Python {version} on this machine")
    if isolated and os.geteuid() != 0:
        pytest.skip("namespaces need root")
    with zygote(interpreters()[version], isolated) as made:
        yield made


@pytest.fixture(
    scope="session",
    params=[(v, i) for v in VERSIONS for i in (True, False)],
    ids=lambda p: f"{p[0]}-{'T1' if p[1] else 'T0'}",
)
def everywhere(request: pytest.FixtureRequest) -> Iterator[Zygote]:
    """Each interpreter, isolated and not."""
    yield from _zygote(*request.param)


@pytest.fixture(scope="session", params=VERSIONS)
def any_version(request: pytest.FixtureRequest) -> Iterator[Zygote]:
    """Each interpreter, without a sandbox."""
    yield from _zygote(request.param, False)


@pytest.fixture(scope="session")
def sandboxed() -> Iterator[Zygote]:
    """The interpreter of the tests, isolated."""
    yield from _zygote(OWN, True)


@pytest.fixture(scope="session")
def plain() -> Iterator[Zygote]:
    """The interpreter of the tests, without a sandbox."""
    yield from _zygote(OWN, False)


@pytest.fixture
def own_zygote() -> Iterator[Zygote]:
    """One that may be ended."""
    yield from _zygote(OWN, False)
