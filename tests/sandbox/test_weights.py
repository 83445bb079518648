"""A function's part of the processors does not grow with its instances."""

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.model import FunctionKey, InstanceId
from corral.sandbox.cgroups import NoGroup
from corral.sandbox.weights import Weights

from .stage import Stage, stage
from .test_kept_harm import HARM
from .test_spares import ECHO, on_t1, started

F = FunctionKey("default/f")


class Scale(NoGroup):
    def __init__(self) -> None:
        self.weight = 1.0


@given(st.lists(st.integers(0, 40)))
def test_all_instances_of_a_function_weigh_between_one_and_two(steps: list[int]) -> None:
    weights, there, writes = Weights(), dict[int, Scale](), 0
    for number in steps:
        if number in there:
            del there[number]
            due = weights.remove(F, InstanceId(str(number)))
        else:
            there[number] = Scale()
            due = weights.add(F, InstanceId(str(number)), there[number])
        for group, weight in due:
            assert isinstance(group, Scale) and group in there.values()
            group.weight = weight
        writes += len(due)
        assert len({scale.weight for scale in there.values()}) <= 1
        if there:
            assert 0.5 < sum(scale.weight for scale in there.values()) < 2
    assert writes <= 4 * len(steps)


def test_a_hundred_starts_cost_few_writes() -> None:
    weights = Weights()
    writes = sum(len(weights.add(F, InstanceId(str(number)), Scale())) for number in range(100))
    assert writes <= 2 * 2 * 100


def test_other_functions_are_left_as_they_are() -> None:
    weights = Weights()
    one, other = Scale(), Scale()
    assert not weights.add(F, InstanceId("a"), one)
    assert not weights.add(FunctionKey("default/g"), InstanceId("b"), other)
    assert [weighing.group for weighing in weights.add(F, InstanceId("c"), Scale())].count(other) == 0


def test_a_removed_instance_that_was_never_there_changes_nothing() -> None:
    assert not Weights().remove(F, InstanceId("a"))


@pytest.mark.skipif(os.geteuid() != 0, reason="groups need root")
def test_the_kernel_divides_what_one_function_has() -> None:
    async def run() -> None:
        async with stage("T1") as made:
            revision = made.deploy("def main(args):\n    return {}\n")
            instances = [await made.start_of(revision) for _ in range(4)]
            alone = await made.start("def main(args):\n    return {}\n")
            await made.until(lambda: set(made.pids) >= {*instances, alone})
            folders = [_folder(made.pids[instance]) for instance in instances]
            await made.until(lambda: [_weight(folder) for folder in folders] == [0.25] * 4)
            assert _weight(_folder(made.pids[alone])) == 1

    asyncio.run(run())


REFUSE = """
import _corral.python.kept as k
if IS_ZYGOTE: k.Zygote._begin = lambda self, order: say(7, order.message["serial"], 11)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="groups need root")
def test_a_zygote_that_refuses_gains_no_processors_for_its_function() -> None:
    async def play(made: Stage) -> None:
        revision = await made.kept(HARM + REFUSE + ECHO)
        pids = [(await started(made, revision))[0] for _ in range(4)]
        folders = [_folder(pid) for pid in pids]
        await made.until(lambda: sum(map(_weight, folders)) <= 1)

    on_t1(play)


def _folder(pid: int) -> Path:
    """Of the process's group, where its part of the processors is."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(",") or (not controllers and "corral" in path):
            return Path(f"/sys/fs/cgroup/{controllers}{path}")
    raise AssertionError("it is in no group")


def _weight(folder: Path) -> float:
    try:
        return int((folder / "cpu.shares").read_text()) / 1024
    except FileNotFoundError:
        return int((folder / "cpu.weight").read_text()) / 100
