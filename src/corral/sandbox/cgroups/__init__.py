"""Groups that limit and count what one instance uses: cgroup v1, v2, or none at all, behind one interface.

A group is made ahead of need and used by one instance: whoever received its entrance could join it again later, so
it is removed afterwards and never given to another."""

from corral.sandbox.cgroups.group import Group, Groups, Limits, NoGroup, NoGroups, Toll
from corral.sandbox.cgroups.opening import find_mounts, open_groups
from corral.sandbox.cgroups.v1 import GroupsV1, GroupV1
from corral.sandbox.cgroups.v2 import GroupsV2, GroupV2

__all__ = [
    "Group",
    "GroupV1",
    "GroupV2",
    "Groups",
    "GroupsV1",
    "GroupsV2",
    "Limits",
    "NoGroup",
    "NoGroups",
    "Toll",
    "find_mounts",
    "open_groups",
]
