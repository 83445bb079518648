"""What groups of a slice may have together, on this machine's own groups."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from corral.sandbox.cgroups import Group, Groups, GroupsV1, GroupsV2, Limits, NoGroup, NoGroups, open_groups
from corral.sandbox.slices import SPARE_MIB, TRIES, Slice

LIMITS = Limits(64, 0.5, 20)
OWNER = f"corral-slice-{os.getpid():x}"
HOARD = "held = b'x' * (40 << 20); print(flush=True); input()"


@pytest.fixture
def groups() -> Iterator[Groups]:
    found = open_groups(OWNER)
    if not isinstance(found, GroupsV1 | GroupsV2):
        pytest.skip("no groups that may be divided here")
    yield found
    found.sweep()


def held_to(around: Slice) -> tuple[int, int]:
    """As the kernel says: MiB, processes."""
    group = around._group
    memory, pids = (
        (f"{group._folder}/memory.max", f"{group._folder}/pids.max")
        if hasattr(group, "_folder")
        else (f"{group._folders['memory']}/memory.limit_in_bytes", f"{group._folders['pids']}/pids.max")  # type: ignore[attr-defined]
    )
    with open(memory) as memory_file, open(pids) as pids_file:
        return int(memory_file.read()) // (1024 * 1024), int(pids_file.read())


def joined(entrances: list[int], code: str) -> "subprocess.Popen[str]":
    def join() -> None:
        for entrance in entrances:
            os.write(entrance, b"0")

    pipe = subprocess.PIPE
    process = subprocess.Popen(["python3", "-c", code], preexec_fn=join, stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_the_limits_of_a_slice_are_the_sums_of_its_groups(groups: Groups) -> None:
    around = Slice(groups, "slice")
    first = around.make("first", LIMITS)
    assert held_to(around) == (64 + SPARE_MIB, 20)
    second = around.make("second", Limits(128, 1.0, 30))
    assert held_to(around) == (192 + 2 * SPARE_MIB, 50)
    second.limit(Limits(256, 1.0, 30))
    assert held_to(around) == (320 + 2 * SPARE_MIB, 50)
    assert second.remove()
    assert held_to(around) == (64 + SPARE_MIB, 20)
    assert first.remove()
    with pytest.raises(FileNotFoundError):
        held_to(around)
    with pytest.raises(OSError):
        around.make("third", LIMITS)


def test_a_limit_raised_while_another_one_is_being_raised_stays() -> None:
    class Slow(NoGroup):
        limits: Limits

        def limit(self, limits: Limits) -> None:
            if meanwhile:
                around.make(meanwhile.pop(), LIMITS)
            self.limits = limits

    class Whole(NoGroups):
        def make(self, name: str, limits: Limits) -> Group:
            return group

    group, meanwhile = Slow(), list[str]()
    around = Slice(Whole(), "slice")
    around.make("first", LIMITS)
    meanwhile.append("third")
    around.make("second", LIMITS)
    assert (group.limits.memory_mib, group.limits.pids) == (3 * (64 + SPARE_MIB), 60)


def test_what_was_moved_out_of_a_group_that_is_gone_is_seen(groups: Groups) -> None:
    around = Slice(groups, "slice")
    stays, goes = around.make("stays", LIMITS), around.make("goes", LIMITS)
    back, entrances = list(stays.entrances()), list(goes.entrances())
    with joined(entrances, HOARD) as hoarder:
        assert [around.stray() for _ in range(TRIES)] == [""] * TRIES
        for entrance in back:
            os.write(entrance, str(hoarder.pid).encode())
        assert goes.remove()
        assert around.has_lost
        assert [around.stray() for _ in range(TRIES - 1)] == [""] * (TRIES - 1)
        assert around.stray() in [
            f"{mib} MiB were left in groups of instances that have ended" for mib in range(38, 50)
        ]
        hoarder.kill()
    assert around.stray() == "" and not around.is_suspect and not around.has_lost
    for fd in back + entrances:
        os.close(fd)


def test_a_slice_that_holds_more_than_its_groups_may_keeps_its_limit_and_kills_nobody(groups: Groups) -> None:
    around = Slice(groups, "slice")
    stays, goes = around.make("stays", Limits(32, 0.5, 20)), around.make("goes", LIMITS)
    back, entrances = list(stays.entrances()), list(goes.entrances())
    with joined(entrances, HOARD) as hoarder:
        for entrance in back:
            os.write(entrance, str(hoarder.pid).encode())
        assert goes.remove()
        assert held_to(around)[0] == 32 + 64 + 2 * SPARE_MIB
        third = around.make("third", Limits(32, 0.5, 20))
        assert third.remove()
        assert hoarder.poll() is None
        hoarder.kill()
    around.stray()
    assert held_to(around)[0] == 32 + SPARE_MIB
    for fd in back + entrances:
        os.close(fd)


def test_a_sweep_ends_what_runs_in_slices(groups: Groups) -> None:
    around = Slice(groups, "slice")
    entrances = list(around.make("inside", LIMITS).entrances())
    with joined(entrances, "print(flush=True); input()") as left:
        # The group, the slice.
        assert groups.sweep() == 2
        assert left.wait(10) == -9
    assert groups.sweep() == 0
    for fd in entrances:
        os.close(fd)


def test_a_group_that_is_refused_leaves_nothing(groups: Groups) -> None:
    around = Slice(groups, "slice")
    with pytest.raises(OSError):
        around.make("no/such", LIMITS)
    assert groups.sweep() == 0
