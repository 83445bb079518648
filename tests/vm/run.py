"""The sandbox and keeper suites on a kernel that has nothing but cgroup v2, in a virtual machine.

Needs Debian, root and /dev/kvm. Takes qemu, a static busybox and Debian's cloud kernel from apt; the kernel is unpacked
into a folder and not installed. The machine sees this host's files read-only, under an overlay in memory."""

import contextlib
import os
import re
import shlex
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = REPOSITORY / ".vm"
PACKAGES = ("qemu-system-x86", "qemu-system-common", "busybox-static")
KERNEL = "linux-image-cloud-amd64"
MODULES = (
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "fuse",
    "virtiofs",
    "overlay",
)
"""In the order of their needs; those built into the kernel are not there as files."""
SUITES = ("tests/sandbox", "tests/keeper")
VIRTIOFSD = ("/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd")
MEMORY = "3G"
UP, STATUS = "corral-vm-up", "corral-vm-status"
ACCELERATORS = (
    (("-enable-kvm", "-cpu", "host,arch-capabilities=off"), 20.0),
    (("-accel", "tcg", "-cpu", "max"), 120.0),
)
"""What to run it on and how long its start may take. Where KVM itself is nested it may open and yet not carry a whole
kernel: emulation then does, ten times slower."""
LIMIT_S = 1800.0

INIT = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
for module in {modules}; do insmod /modules/$module.ko; done
mkdir -p /host /memory /new
mount -t virtiofs -o ro host /host && mount -t tmpfs -o size=1g memory /memory || echo "the host's files are not there"
mkdir -p /memory/upper /memory/work
mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work root /new
cp /second /new/second
exec switch_root /new /bin/sh /second
"""

SECOND = """\
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /run
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mount -t cgroup2 groups /sys/fs/cgroup
/usr/bin/busybox ip link set lo up
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PYTHONDONTWRITEBYTECODE=1
echo "{up}: Linux $(uname -r), controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"
cd {repository} && {python} -m pytest -q -p no:cacheprovider {suites}
echo "{status} $?"
sync
/usr/bin/busybox poweroff -f
"""


def main(arguments: Sequence[str]) -> int:
    """The suites' exit status. `arguments` go to pytest in place of the suites."""
    problem = unable()
    if problem:
        print(f"--vm: {problem}", file=sys.stderr)
        return 2
    subprocess.run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES], check=True, stdout=sys.stderr
    )
    kernel = _kernel()
    with tempfile.TemporaryDirectory(prefix="corral-vm-") as folder:
        initramfs = Path(folder, "initramfs")
        initramfs.write_bytes(_initramfs(kernel, arguments or SUITES))
        for number, (accelerator, patience_s) in enumerate(ACCELERATORS):
            files = f"{folder}/files{number}.sock"
            with _files_server(files):
                status = _boot(kernel, initramfs, files, accelerator, patience_s)
            if status is not None:
                return status
    print("--vm: the machine did not come up or did not finish", file=sys.stderr)
    return 2


def unable() -> str | None:
    """Why it cannot be done here; None: it can."""
    if os.geteuid() != 0:
        return "needs root, for apt and for the host's files"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "needs /dev/kvm"
    if not Path("/etc/debian_version").exists():
        return "needs Debian, whose cloud kernel it boots"
    return None


def _kernel() -> Path:
    """The folder with the unpacked kernel package."""
    shown = subprocess.run(["apt-cache", "depends", KERNEL], check=True, capture_output=True, text=True).stdout
    found = re.search(r"Depends: (linux-image-\S+)", shown)
    if found is None:
        raise SystemExit(f"--vm: apt knows no {KERNEL}; run apt-get update")
    folder = CACHE / found[1]
    if not folder.exists():
        CACHE.mkdir(exist_ok=True)
        subprocess.run(["apt-get", "download", "-q", found[1]], check=True, cwd=CACHE, stdout=sys.stderr)
        (package,) = CACHE.glob(f"{found[1]}_*.deb")
        subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    return folder


def _initramfs(kernel: Path, suites: Sequence[str]) -> bytes:
    files = {path.stem: path for path in kernel.rglob("*.ko")}
    modules = [name for name in MODULES if name in files]
    words = {
        "repository": shlex.quote(str(REPOSITORY)),
        "python": shlex.quote(sys.executable),
        "suites": shlex.join(suites),
        "status": STATUS,
        "up": UP,
    }
    content = {
        "bin/busybox": Path("/usr/bin/busybox" if Path("/usr/bin/busybox").exists() else "/bin/busybox").read_bytes(),
        "init": INIT.format(modules=" ".join(modules)).encode(),
        "second": SECOND.format(**words).encode(),
        **{f"modules/{name}.ko": files[name].read_bytes() for name in modules},
    }
    entries = [_entry(folder, stat.S_IFDIR | 0o755, b"") for folder in ("bin", "dev", "modules")]
    entries += [_entry(path, stat.S_IFREG | 0o755, data) for path, data in content.items()]
    return b"".join([*entries, _entry("TRAILER!!!", 0, b"")])


def _entry(path: str, mode: int, data: bytes) -> bytes:
    """One member of an archive in the format the kernel unpacks (cpio, newc)."""
    name = path.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


@contextlib.contextmanager
def _files_server(socket: str) -> Iterator[None]:
    """virtiofsd, in C as Debian 12 has it or in Rust as later ones."""
    binary = next((path for path in VIRTIOFSD if os.path.exists(path)), None)
    if binary is None:
        raise SystemExit(f"--vm: no virtiofsd in {' or '.join(VIRTIOFSD)}; apt-get install virtiofsd")
    if binary == VIRTIOFSD[0]:
        command = [binary, f"--socket-path={socket}", "-o", "source=/", "-o", "cache=always"]
        command += ["-o", "sandbox=chroot"]
    else:
        command = [binary, f"--socket-path={socket}", "--shared-dir=/", "--cache=always", "--sandbox=chroot"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            while not os.path.exists(socket) and server.poll() is None:
                time.sleep(0.01)
            yield
        finally:
            server.terminate()


def _boot(kernel: Path, initramfs: Path, files: str, accelerator: Sequence[str], patience_s: float) -> int | None:
    """The suites' exit status; None: the machine did not come up within `patience_s`, or never ended."""
    (image,) = (kernel / "boot").glob("vmlinuz-*")
    command = ["qemu-system-x86_64", *accelerator, "-smp", "2", "-m", MEMORY]
    command += ["-nographic", "-no-reboot", "-kernel", str(image), "-initrd", str(initramfs)]
    command += ["-append", "console=ttyS0 quiet panic=-1 cgroup_no_v1=all"]
    command += ["-object", f"memory-backend-memfd,id=memory,size={MEMORY},share=on", "-numa", "node,memdev=memory"]
    command += ["-chardev", f"socket,id=files,path={files}", "-device", "vhost-user-fs-pci,chardev=files,tag=host"]
    status = None
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace"
    ) as machine:
        assert machine.stdout is not None
        limits = [threading.Timer(patience_s, machine.kill), threading.Timer(LIMIT_S, machine.kill)]
        for limit in limits:
            limit.start()
        try:
            for line in machine.stdout:
                if UP in line:
                    limits[0].cancel()
                if line.startswith(STATUS):
                    status = int(line.split()[1])
                print(line, end="", flush=True)
        finally:
            for limit in limits:
                limit.cancel()
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
