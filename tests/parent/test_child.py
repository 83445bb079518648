"""When a process that died is started again, and what happens to strays."""

import ast
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from corral.parent.child import Child, Command, spawn


def command(code: str) -> Command:
    return Command(argv=[sys.executable, "-I", "-S", "-c", textwrap.dedent(code)], environment={})


def test_first_death_is_answered_at_once_and_quick_ones_ever_later() -> None:
    child = Child("x", lambda: command("pass"))
    pauses = []
    now = 100.0
    for _ in range(10):
        child.start(now)
        assert child.pid is not None
        os.waitpid(child.pid, 0)
        pauses.append(child.ended(now + 0.5))
        now += 10
    assert pauses == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


def test_long_life_ends_the_back_off() -> None:
    child = Child("x", lambda: command("pass"))
    pauses = []
    for lived_s in (0.1, 0.1, 0.1, 60.0, 0.1):
        child.start(0.0)
        assert child.pid is not None
        os.waitpid(child.pid, 0)
        pauses.append(child.ended(lived_s))
    assert pauses == [0.0, 0.1, 0.2, 0.0, 0.0]


def test_child_has_the_given_environment_descriptors_and_a_session_of_its_own() -> None:
    read, write = os.pipe()
    other, _unused = os.pipe()
    code = f"""
        import os
        try:
            os.fstat({other})
        except OSError:
            os.write({write}, repr((dict(os.environ), os.getsid(0) == os.getpid())).encode())
    """
    given = {"A": "1", "LC_CTYPE": "C.UTF-8"}
    pid = spawn(Command(argv=command(code).argv, environment=given, fds=[write]))
    os.close(write)
    assert os.waitpid(pid, 0)[1] == 0
    assert ast.literal_eval(os.read(read, 1000).decode()) == (given, True)
    for fd in (read, other, _unused):
        os.close(fd)


def test_child_ends_with_its_parent() -> None:
    # A parent of its own, which dies without a word; end of file on the pipe says that the child is gone too.
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        spawn(command("import signal; signal.pause()"))
        os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    assert os.read(read, 1) == b""
    os.close(read)


SWEEPER = """
    import os, signal, sys
    from corral.parent.child import Command, become_subreaper, children, spawn, sweep
    become_subreaper()
    kept = spawn(Command(argv=[sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"], environment={}))
    ready, told = os.pipe()
    middle = os.fork()
    if middle == 0:
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.pause()
            os.write(told, b".")
            signal.pause()
        os.read(ready, 1)
        os._exit(0)
    os.waitpid(middle, 0)
    killed = sweep({kept})
    assert children() == [kept], children()
    print(killed)
"""


def test_sweep_ends_strays_and_their_children_but_not_those_to_keep() -> None:
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(SWEEPER)], capture_output=True, timeout=20)
    assert (done.stdout, done.stderr) == (b"2\n", b"")


def test_missing_program_is_a_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    pid = spawn(Command(argv=["/no/such"], environment={}))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 127
    assert "/no/such cannot be started" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
