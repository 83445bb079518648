import os
import subprocess
from pathlib import Path

import pytest

from corral.sandbox.cgroups import GroupsV1, GroupsV2, Limits, NoGroups, find_mounts, open_groups
from corral.sandbox.memory import for_groups_mib, memory_mib

V1 = """\
proc /proc proc rw 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,relatime,pids 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
"""
LIMITS = Limits(64, 0.5, 20)
OWNER = f"corral-trial-{os.getpid():x}"


def test_controllers_of_v1_may_share_a_folder() -> None:
    assert find_mounts(V1) == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "memory": "/sys/fs/cgroup/memory",
        "pids": "/sys/fs/cgroup/pids",
        "v2": "/sys/fs/cgroup/unified",
    }


def test_without_any_mount_there_are_no_groups() -> None:
    assert isinstance(open_groups(OWNER, "proc /proc proc rw 0 0\n"), NoGroups)


def test_a_v2_tree_without_the_controllers_is_not_used() -> None:
    nowhere = "cgroup2 /nowhere cgroup2 rw 0 0\n"
    assert isinstance(open_groups(OWNER, nowhere), NoGroups)


@pytest.fixture
def groups() -> GroupsV1 | GroupsV2:
    found = open_groups(OWNER)
    if not isinstance(found, GroupsV1 | GroupsV2):
        pytest.skip("no groups that may be divided here")
    return found


def test_a_group_takes_other_limits_both_up_and_down(groups: GroupsV1 | GroupsV2) -> None:
    group = groups.make("g", LIMITS)
    try:
        for limits in (Limits(512, 2.0, 100), Limits(32, 0.05, 5)):
            group.limit(limits)
        assert group.used()[1] < 1
        assert group.toll().out_of_memory == 0
    finally:
        assert group.remove()
        groups.sweep()


def test_all_groups_together_leave_the_machine_a_part_of_its_memory() -> None:
    groups = open_groups(OWNER, memory_mib=100)
    if isinstance(groups, NoGroups):
        pytest.skip("no groups that may be divided here")
    group = groups.make("g", LIMITS)
    try:
        points = find_mounts(Path("/proc/self/mounts").read_text())
        found = [
            int(path.read_text())
            for point, name in ((points.get("memory"), "limit_in_bytes"), (points.get("v2"), "max"))
            if point is not None and (path := Path(point, OWNER, f"memory.{name}")).exists()
        ]
        assert found == [100 * 1024 * 1024]
        assert 0.9 * memory_mib() < for_groups_mib() < memory_mib()
    finally:
        assert group.remove()
        groups.sweep()


def test_a_sweep_ends_what_an_earlier_keeper_left(groups: GroupsV1 | GroupsV2) -> None:
    group = groups.make("g", LIMITS)
    entrances = group.entrances()
    with subprocess.Popen(["sleep", "600"]) as left:
        for entrance in entrances:
            os.write(entrance, str(left.pid).encode())
            os.close(entrance)
        assert not group.remove()
        groups.sweep()
        assert left.wait(10) == -9
    assert group.remove()
    assert groups.sweep() == 0
