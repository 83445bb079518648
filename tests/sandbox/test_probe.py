import os

import msgspec

from corral.runtimes.python import seccomp
from corral.sandbox.probe import FILTERED, Host, probe

CAPABLE = Host(
    kernel="6.1",
    is_root=True,
    namespaces=("mount", "pid", "ipc", "uts", "net"),
    cgroups="v2",
    has_detached_mounts=True,
    has_pidfd=True,
    has_seccomp=True,
)


def test_a_capable_machine_holds_everything() -> None:
    assert CAPABLE.tier("auto") == "T1"
    assert CAPABLE.not_held("T1") == []


def test_processes_are_used_where_they_are_asked_for() -> None:
    assert CAPABLE.tier("process") == "T0"
    assert "keeper.isolation = process" in CAPABLE.not_held("T0")[0]


def test_strict_is_refused_where_only_processes_are_to_be_had() -> None:
    assert CAPABLE.tier("strict") == "T1" and CAPABLE.refusal("strict") is None
    refusal = msgspec.structs.replace(CAPABLE, is_root=False).refusal("strict")
    assert refusal is not None and "keeper.isolation = strict, must be auto or process here" in refusal


def test_without_root_the_reason_is_named() -> None:
    host = msgspec.structs.replace(CAPABLE, is_root=False)
    assert host.tier("auto") == "T0"
    assert "does not run as root" in host.not_held("T0")[0]


def test_a_missing_namespace_is_named() -> None:
    host = msgspec.structs.replace(CAPABLE, namespaces=("mount", "pid", "ipc", "uts"))
    assert host.tier("auto") == "T0"
    assert "(net)" in host.not_held("T0")[0]


def test_missing_groups_and_filters_are_named_on_t1() -> None:
    host = msgspec.structs.replace(CAPABLE, cgroups="none", has_seccomp=False)
    assert host.tier("auto") == "T1"
    assert [sentence.split()[0] for sentence in host.not_held("T1")] == ["memory", "system"]


def test_the_machines_with_a_filter_are_those_of_the_runtime() -> None:
    assert set(FILTERED) == set(seccomp.ARCHITECTURES)
    assert probe().has_seccomp == (seccomp.find_filter() is not None)


def test_probing_leaves_this_process_where_it_was() -> None:
    kinds = ("mnt", "net", "ipc", "uts", "pid")
    before = [os.readlink(f"/proc/self/ns/{kind}") for kind in kinds]
    found = probe()
    assert found.is_root == (os.geteuid() == 0)
    assert [os.readlink(f"/proc/self/ns/{kind}") for kind in kinds] == before
