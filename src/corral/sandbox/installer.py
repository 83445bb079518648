"""An installation under way: listened to until its end, which may be ours to bring."""

import contextlib
import os
import selectors
import subprocess
import threading
import time
from collections.abc import Callable

from corral.sandbox import processes
from corral.sandbox.cgroups import Group

LEFT_MAX_S = 5.0
"""For what was killed to be gone."""


class Installer:
    def __init__(self, process: subprocess.Popen[bytes], group: Group, report: int, output: int) -> None:
        """`process` is enter.py, which tells of its program's end on `report`; both descriptors are ours now. Who
        collects `process` does not matter: the keeper collects everything that ends below it."""
        self._process, self._group = process, group
        self._report, self._output = report, output
        self._lock = threading.Lock()
        """Held while it is killed: another thread may do that, and must not hit a process that came after it."""
        self._has_ended = False
        self.status: int | None = None
        """Wait status; None: none was told."""
        self.is_late = False

    def listen(self, until: float, heard: Callable[[bytes], None]) -> None:
        """Until its end, or until the monotonic moment `until`, when it is killed."""
        told = b""
        try:
            with selectors.DefaultSelector() as selector:
                for fd in (self._report, self._output):
                    selector.register(fd, selectors.EVENT_READ)
                while selector.get_map():
                    ready = selector.select(max(0.0, until - time.monotonic()))
                    if not ready and self.is_late:
                        break  # something it left holds its output open
                    if not ready:
                        self.is_late, until = True, time.monotonic() + LEFT_MAX_S
                        self.kill()
                    for key, _ in ready:
                        data = os.read(key.fd, 65_536)
                        if not data:
                            selector.unregister(key.fd)
                        elif key.fd == self._output:
                            heard(data)
                        else:
                            told += data
        finally:
            self.kill()
            with self._lock:
                self._has_ended = True
                self._process.wait()
            for fd in (self._report, self._output):
                os.close(fd)
        self.status = int(told) if told else None

    def kill(self) -> None:
        """Its first process takes all others of its namespace with it; where it has none, they are its family."""
        with self._lock:
            if not self._has_ended:
                with contextlib.suppress(OSError):
                    processes.kill_family(self._process.pid)
                self._group.kill()
