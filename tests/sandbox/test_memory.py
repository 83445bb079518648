"""What the machine, or a group around Corral, leaves for functions."""

from pathlib import Path

import pytest

from corral.sandbox.memory import memory_mib

NO_LIMIT_V1 = str(0x7FFFFFFFFFFFF000)
MEMORY, UNIFIED = "cgroup {} cgroup rw,memory 0 0\n", "cgroup2 {} cgroup2 rw 0 0\n"


@pytest.mark.parametrize(
    ("mount", "groups", "limits", "expected_mib"),
    [
        pytest.param("", "", {}, 8192, id="no groups"),
        pytest.param(MEMORY, "4:memory:/\n", {".": NO_LIMIT_V1}, 8192, id="v1 without a limit"),
        pytest.param(MEMORY, "4:memory:/\n", {".": 2 << 30}, 2048, id="v1 in a container"),
        pytest.param(MEMORY, "4:memory:/a/b\n", {"a": 1 << 30, "a/b": 3 << 30}, 1024, id="v1, a group above ours"),
        pytest.param(UNIFIED, "0::/a\n", {"a": "max"}, 8192, id="v2 without a limit"),
        pytest.param(UNIFIED, "0::/a\n", {"a": 512 << 20}, 512, id="v2 with one"),
        pytest.param(UNIFIED, "0::/seen/elsewhere\n", {".": 256 << 20}, 256, id="v2 in a container, path unseen"),
    ],
)
def test_the_least_limit_around_us_counts(
    tmp_path: Path, mount: str, groups: str, limits: dict[str, int | str], expected_mib: float
) -> None:
    point, proc = tmp_path / "groups", tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal:        8388608 kB\nMemFree:          100 kB\n")
    (proc / "self/mounts").write_text(mount.format(point))
    (proc / "self/cgroup").write_text(groups)
    file = "memory.max" if mount == UNIFIED else "memory.limit_in_bytes"
    for folder, limit in limits.items():
        (point / folder).mkdir(parents=True, exist_ok=True)
        (point / folder / file).write_text(f"{limit}\n")
    assert memory_mib(proc) == expected_mib


def test_this_machine_has_memory() -> None:
    assert memory_mib() > 64
