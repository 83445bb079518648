"""The filter is there where the kernel takes one, and where it takes none a function starts all the same."""

import os
import platform
import sys

import pytest

from corral.runtimes.python import seccomp

from . import keeper
from .conftest import OWN

REFUSING = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
# prctl with PR_SET_SECCOMP gives EINVAL from now on, as on a kernel without filters.
steps = [(0x20, 0, 0, 0), (0x15, 0, 3, %d), (0x20, 0, 0, 16), (0x15, 0, 1, 22), (0x06, 0, 0, 0x50016),
         (0x06, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
head = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.c_void_p(ctypes.addressof(head)), 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""
STATUS = """
def main(args):
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return {"filters": status["Seccomp_filters"].strip(), "capabilities": status["CapEff"].strip()}
"""
PRCTL = {"x86_64": 157, "aarch64": 167}


@pytest.mark.parametrize("isolated", [True, False])
def test_without_seccomp_a_function_starts_without_a_filter(isolated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if isolated and os.geteuid() != 0:
        pytest.skip("namespaces need root")
    usual = keeper.zygote_command
    script = REFUSING % PRCTL[platform.machine()]
    monkeypatch.setattr(
        keeper,
        "zygote_command",
        lambda interpreter, fd: [interpreter.executable, "-c", script, *usual(interpreter, fd)],
    )
    with keeper.zygote(keeper.interpreters()[OWN], isolated) as zygote:
        answer = zygote.start({"app.py": STATUS}).serve().call().json()
    # That one is this test's.
    assert answer["filters"] == "1"
    assert answer["capabilities"] == "0" * 16


def test_a_machine_without_a_list_has_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sys.platform == "linux" and seccomp.find_filter() is not None
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert seccomp.find_filter() is None
