"""`./test --vm`: the limits of cgroup v2, on a kernel that has no other. Minutes long, so not part of `./test`."""

import pytest

from . import run


def test_sandbox_and_keeper_keep_their_promises_on_cgroup_v2() -> None:
    problem = run.unable()
    if problem is not None:
        pytest.skip(problem)
    assert run.main([]) == 0
