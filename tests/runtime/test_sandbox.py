"""What a function cannot do from inside its sandbox, each attempt by name; and that siblings share no secrets."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .keeper import UID, Gateway, Zygote

ATTEMPTS = """
import ctypes, errno, os, signal, socket, sys

libc = ctypes.CDLL(None, use_errno=True)

def system_call(number, *arguments):
    ctypes.set_errno(0)
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

def mount(): system_call(165, b"none", b"/tmp", b"tmpfs", 0, None)
def unmount(): system_call(166, b"/function", 2)
def unshare_user_namespace(): system_call(272, 0x10000000)
def unshare_mount_namespace(): system_call(272, 0x20000)
def clone_into_namespaces(): system_call(56, 0x10000000 | 17, 0, 0, 0, 0)
def clone3(): system_call(435, 0, 0)
def setns(): system_call(308, 0, 0)
def chroot(): os.chroot("/tmp")
def pivot_root(): system_call(155, b"/tmp", b"/tmp")
def ptrace(): system_call(101, 0, 0, 0, 0)
def process_vm_readv(): system_call(310, 1, 0, 0, 0, 0, 0)
def pidfd_getfd(): system_call(438, 0, 0, 0)
def bpf(): system_call(321, 0, 0, 0)
def perf_event_open(): system_call(298, 0, 0, 0, 0, 0)
def userfaultfd(): system_call(323, 0)
def io_uring(): system_call(425, 1, 0)
def keyrings(): system_call(250, 0, 0, 0, 0, 0)
def kernel_log(): system_call(103, 2, 0, 0)
def load_module(): system_call(313, 0, b"", 0)
def reboot(): system_call(169, 0xfee1dead, 672274793, 0, 0)
def open_by_handle(): system_call(304, 0, 0, 0)
def set_clock(): system_call(227, 0, ctypes.byref((ctypes.c_long * 2)(1, 0)))
def personality(): system_call(135, 0x0040000)
def x32_call(): system_call(0x40000000 | 39)
def unknown_call(): system_call(9999)
def set_hostname(): socket.sethostname("other")
def become_root(): os.setuid(0)
def change_group(): os.setgroups([0])
def make_device(): os.mknod("/tmp/sda", 0o060666, os.makedev(8, 0))
def raw_socket(): socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
def packet_socket(): socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
def vsock(): socket.socket(40, socket.SOCK_STREAM)
def crypto_socket(): socket.socket(38, socket.SOCK_SEQPACKET)
def leave_the_machine(): socket.create_connection(("192.0.2.1", 80), 5)
def write_the_package(): open("/function/handler.py", "w")
def write_the_root(): open("/escaped", "w")
def write_the_interpreter(): open(os.__file__, "w")
def write_sysctl(): open("/proc/sys/kernel/hostname", "w").write("x")
def write_sysrq(): open("/proc/sysrq-trigger", "w").write("h")
def write_own_oom_score(): open("/proc/self/oom_score_adj", "w").write("-1000")
def remount_writable(): system_call(165, b"none", b"/function", None, 0x20 | 0x1000, None)
def read_shadow(): open("/etc/shadow").read()
def read_homes(): os.listdir("/home")
def read_cgroups(): os.listdir("/sys/fs/cgroup")
def read_disks(): open("/dev/vda", "rb")
def read_kernel_memory():
    if not open("/proc/kcore", "rb").read(1): raise PermissionError(1, "masked: it is empty")
def read_kernel_keys():
    if not open("/proc/keys", "rb").read(1): raise PermissionError(1, "masked: it is empty")
def read_own_code_of_zygote(): os.listdir("/proc/2")
def kill_the_zygote(): os.kill(os.getppid() or 424242, 9)
def raise_the_limit(): __import__("resource").setrlimit(7, (10000, 10000))
HEADER, ALL = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(1, 1, 1)
def take_capabilities(): system_call(126, ctypes.byref(HEADER), ctypes.byref(ALL))

def handler(event):
    try:
        globals()[event["try"]]()
    except Exception as exc:
        number = getattr(exc, "errno", None)
        return type(exc).__name__ + (":" + errno.errorcode.get(number, "?") if number else "")
    return "it worked"
"""

NAMES = [line.split("(")[0][4:] for line in ATTEMPTS.split("\n") if line.startswith("def ") and "():" in line]
EXPECTED = {
    "clone3": "OSError:ENOSYS",
    "x32_call": "OSError:ENOSYS",
    "unknown_call": "OSError:ENOSYS",
    "vsock": "OSError:EAFNOSUPPORT",
    "crypto_socket": "OSError:EAFNOSUPPORT",
    "packet_socket": "OSError:EAFNOSUPPORT",
    "leave_the_machine": "OSError:ENETUNREACH",
    "kill_the_zygote": "ProcessLookupError:ESRCH",
    "raise_the_limit": "ValueError",
}
REFUSALS = ("PermissionError:EPERM", "PermissionError:EACCES", "OSError:EROFS", "FileNotFoundError:ENOENT")


@pytest.fixture(scope="module")
def intruder(sandboxed: Zygote) -> Iterator[Gateway]:
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers of the attempts are those of x86_64")
    yield sandboxed.start(ATTEMPTS).serve()


@pytest.mark.parametrize("name", NAMES)
def test_attempt_is_refused(intruder: Gateway, name: str) -> None:
    answer = intruder.call(b'{"try": "%s"}' % name.encode())
    assert answer.body.decode() in ((EXPECTED[name],) if name in EXPECTED else REFUSALS)


VIEW = """
import os, socket, threading
def handler(event):
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return {
        "threads": status["Threads"].strip(), "pid": os.getpid(), "ids": [os.getuid(), os.getgid(), os.getgroups()],
        "capabilities": [status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
        "no_new_privs": status["NoNewPrivs"].strip(), "seccomp": status["Seccomp"].strip(),
        "processes": [name for name in os.listdir("/proc") if name.isdigit()],
        "interfaces": [name for _, name in socket.if_nameindex()], "hostname": socket.gethostname(),
        "root": sorted(os.listdir("/")), "dev": sorted(os.listdir("/dev")), "tmp": os.listdir("/tmp"),
        "session": os.getsid(0) == os.getpid(), "environ": open("/proc/self/environ").read(),
    }
"""


def test_sandbox_holds_nothing_but_the_function(everywhere: Zygote) -> None:
    if not everywhere.isolated:
        pytest.skip("without a sandbox much of the machine is visible")
    view = everywhere.start(VIEW).serve().call(b"{}").json()
    assert view["pid"] == 1
    assert view["processes"] == ["1"]
    assert view["threads"] == "1"
    assert view["ids"] == [UID, UID, []]
    assert view["capabilities"] == ["0000000000000000"] * 5
    assert (view["no_new_privs"], view["seccomp"]) == ("1", "2")
    assert view["interfaces"] == ["lo"]
    assert view["hostname"] == "instance-1"
    assert view["dev"] == ["full", "null", "random", "urandom", "zero"]
    assert view["tmp"] == []
    assert view["session"]
    assert "CORRAL" not in view["environ"]
    assert not {"home", "var", "sys", "boot"} & set(view["root"])


DESCRIPTORS = """
import os
def handler(event):
    found = {}
    for fd in range(200):
        try:
            found[fd] = os.readlink("/proc/self/fd/%d" % fd)
        except OSError:
            pass
    return found
"""


def test_no_descriptor_is_inherited_but_those_that_are_needed(everywhere: Zygote) -> None:
    found = everywhere.start(DESCRIPTORS).serve().call(b"{}").json()
    # 3 listens, 4 is the connection.
    assert sorted(found, key=int) == ["0", "1", "2", "3", "4"]
    assert found["0"] == "/dev/null"
    assert found["1"] == found["2"]
    assert found["3"].startswith("socket:")


def test_programs_started_by_the_function_inherit_no_sockets(everywhere: Zygote) -> None:
    source = "import subprocess\ndef handler(event): return subprocess.check_output(['ls', '/proc/self/fd']).decode()"
    assert everywhere.start(source).serve().call(b"{}").body.split() == [b"0", b"1", b"2", b"3"]  # 3 is the listing


RANDOM = """
import os, random, secrets, ssl, tempfile, uuid
AT_LOAD = random.random()
def handler(event):
    return [AT_LOAD, random.random(), os.urandom(8).hex(), ssl.RAND_bytes(8).hex(),
            str(uuid.uuid4()), str(uuid.uuid1()), secrets.token_hex(8), next(tempfile._get_candidate_names())]
"""


def test_siblings_draw_different_numbers(everywhere: Zygote) -> None:
    gateways = [everywhere.start(RANDOM).serve() for _ in range(3)]
    drawn = [gateway.call(b"{}").json() for gateway in gateways]
    for values in zip(*drawn, strict=True):
        assert len(set(values)) == 3, values


def test_siblings_share_no_tmp(sandboxed: Zygote) -> None:
    source = "import os\ndef handler(event):\n  open('/tmp/mine', 'x')\n  return os.listdir('/tmp')"
    for _ in range(2):
        assert sandboxed.start(source).serve().call(b"{}").json() == ["mine"]


def test_abstract_sockets_of_siblings_are_apart(sandboxed: Zygote) -> None:
    source = (
        "import socket\nS = socket.socket(socket.AF_UNIX)\nS.bind('\\0same name')\ndef handler(event): return 'bound'"
    )
    for _ in range(2):
        assert sandboxed.start(source).serve().call(b"{}").body == b"bound"


USUAL = """
import asyncio, concurrent.futures, ctypes, decimal, hashlib, json, multiprocessing, os, socket, sqlite3, ssl
import subprocess, tempfile, threading, urllib.request, uuid, zoneinfo
def child(queue): queue.put(os.getpid())
def handler(event):
    done = []
    thread = threading.Thread(target=done.append, args=(1,)); thread.start(); thread.join()
    done.append(subprocess.run(["/bin/sh", "-c", "echo $((1+1))"], capture_output=True, text=True).stdout.strip())
    with tempfile.NamedTemporaryFile() as file: file.write(b"x")
    done.append(sqlite3.connect("/tmp/db").execute("select 3").fetchone()[0])
    done.append(asyncio.run(asyncio.sleep(0, 4)))
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe()
    process = context.Process(target=writer.send, args=(5,)); process.start()
    done.append(reader.recv()); process.join()
    with concurrent.futures.ThreadPoolExecutor(2) as pool: done.append(pool.submit(lambda: 6).result())
    server = socket.create_server(("127.0.0.1", 0))
    ssl.create_default_context()
    done.append(len(open("/proc/self/environ").read()) >= 0 and os.cpu_count() > 0)
    return done
"""


def test_usual_things_work_inside(everywhere: Zygote) -> None:
    source = USUAL
    if os.geteuid() == 0 and everywhere.isolated:
        # Without an address on lo the server of the test could still bind; lo is up only where the keeper set it so.
        source = source.replace('    server = socket.create_server(("127.0.0.1", 0))\n', "")
    source = source.replace(", zoneinfo", "")
    answer = everywhere.start(source).serve().call(b"{}")
    assert answer.error == ""
    assert answer.json() == [1, "2", 3, 4, 5, 6, True]


def test_package_in_a_folder_nobody_else_may_enter(sandboxed: Zygote, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    package = hidden / "package"
    package.mkdir(parents=True)
    (package / "handler.py").write_text("import helper\ndef handler(event): return helper.WORD")
    (package / "helper.py").write_text("WORD = 'found'")
    hidden.chmod(0o700)
    assert sandboxed.start_package(package).serve().call(b"{}").body == b"found"


def test_failure_for_want_of_a_network_or_a_place_to_write_says_why(sandboxed: Zygote) -> None:
    source = """
import socket
def handler(event):
    if event["try"] == "name":
        try:
            socket.getaddrinfo("example.org", 80)
        except OSError as exc:
            raise RuntimeError("no page") from exc
    if event["try"] == "address":
        socket.create_connection(("192.0.2.1", 80), 1)
    open("/function/out.txt", "w")
"""
    instance = sandboxed.start(source)
    gateway = instance.serve()
    for tried, said in (
        ("name", "the function has no network; deployed with --network host it shares this machine's"),
        ("address", "the function has no network; deployed with --network host it shares this machine's"),
        ("file", "a function can write to /tmp alone"),
    ):
        before = len(instance.log())
        assert gateway.call(b'{"try": "%b"}' % tried.encode()).error
        # Written before the answer is.
        assert instance.log()[before:].splitlines()[-1].endswith(f"corral: {said}")
