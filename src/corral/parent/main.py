"""`corral up`. Everything that can be wrong is found before the first process starts; afterwards three processes run,
and are started again when they die, until a signal ends all of them."""

import logging
import os
import selectors
import signal
import site
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

import corral
from corral import config
from corral.config import Boot, Settings
from corral.errors import BadConfiguration
from corral.observe import logs
from corral.parent import folder, sockets, token
from corral.parent.child import Child, Command, become_subreaper, sweep
from corral.parent.greeting import Greeting
from corral.parent.index import PROXY_VARIABLES, with_index, without_secrets
from corral.parent.users import check_users
from corral.parent.view import View, check_readable, check_startable, enclosed

log = logging.getLogger("corral.parent.main")

DRAIN_S = 1.7
"""How long the gateway may take to end: it gives the calls in flight 1.5 s. The whole stop takes at most 3 s."""
END_S = 1.2
NAMES = ("keeper", "engine", "gateway")
GATEWAY, ENGINE = 0, 1
"""Places in the uid range: the first two users are Corral's own."""


class Server:
    """What one `corral up` owns, from the lock to the sockets. Made by `open_server`."""

    def __init__(self, data: Path, settings: Settings, environment: Mapping[str, str]) -> None:
        self.data = data
        self.settings = settings
        self._environment = environment
        self._is_root = os.geteuid() == 0
        # Lock first: the loser of a race must not touch sockets or token of the winner.
        self._lock = folder.open_data(data, self._user(ENGINE))
        self._public = sockets.listen_public(settings.server)
        self.url = sockets.url_of(self._public, settings.server.host)
        self.run = folder.make_run(config.data_name(data), environment, self._user(GATEWAY))
        self._link = sockets.listen_unix(self.run / "link.sock", self._user(GATEWAY))
        self._api = sockets.listen_unix(self.run / "api.sock", self._user(GATEWAY))
        self.token_file = token.token_file(self.url, environment)
        self.token = token.write_token(self.token_file, environment)

    def _user(self, place: int) -> int:
        """Of one of our own unprivileged processes; our own user where we cannot give them another."""
        return self.settings.keeper.uid_base + place if self._is_root else os.geteuid()

    def children(self) -> dict[str, Child]:
        return {name: Child(name, self._command(name)) for name in NAMES}

    def _command(self, name: str) -> Callable[[], Command]:
        inherited = {
            "keeper": {},
            "engine": {"link": self._link.fileno(), "api": self._api.fileno()},
            "gateway": {"public": self._public.fileno()},
        }[name]
        # Only the keeper asks the index, and its address may hold a password.
        settings = self.settings if name == "keeper" else without_secrets(self.settings)
        command = Command(
            # -P: a file called json.py in the folder `up` was typed in must not become ours.
            argv=[sys.executable, "-P", "-m", f"corral.{name}.main"],
            environment=self._child_environment(name, self._boot(settings, inherited)),
            fds=list(inherited.values()),
        )
        view = self._view(name)
        return (lambda: command) if view is None else (lambda: enclosed(command, view))

    def _boot(self, settings: Settings, fds: dict[str, int]) -> Boot:
        return Boot(
            settings=settings,
            data=str(self.data),
            run=str(self.run),
            name=config.data_name(self.data),
            parent_pid=os.getpid(),
            fds=fds,
            admin_token_sha256=token.digest(self.token),
            url=self.url,
        )

    def _view(self, name: str) -> View | None:
        """None: it sees what we see. The gateway only connects to sockets, for which reading is enough."""
        if not self._is_root or name == "keeper":
            return None
        staging = self.run / "root"
        if name == "engine":
            return View(user=self._user(ENGINE), folder=self.data, mode="rw", staging=staging)
        return View(user=self._user(GATEWAY), folder=self.run, mode="ro", staging=staging)

    def _child_environment(self, name: str, boot: Boot) -> dict[str, str]:
        passed = ["PATH", "LANG", "LC_ALL", "TZ", "HOME", "TERM", "NO_COLOR", "SSL_CERT_FILE"]
        if name == "keeper":
            passed += PROXY_VARIABLES
        environment = {name: self._environment[name] for name in passed if name in self._environment}
        environment |= {"CORRAL_BOOT": msgspec.json.encode(boot).decode(), "PYTHONUNBUFFERED": "1"}
        return environment | _code_path()

    def close(self) -> None:
        """Leave nothing behind but the data folder."""
        token.remove_token(self.token_file, self.token, self._environment)
        for listener in (self._public, self._link, self._api):
            listener.close()
        folder.remove_run(self.run)
        os.close(self._lock)


def _code_path() -> dict[str, str]:
    """What lets our processes import the very package we run from, where an installation does not: we may have it
    from a PYTHONPATH or a current folder that they do not get."""
    folder = Path(corral.__file__).resolve().parent.parent
    installed = [*site.getsitepackages(), site.getusersitepackages()]
    return {} if folder in map(Path.resolve, map(Path, installed)) else {"PYTHONPATH": str(folder)}


def up(data: Path, flags: Mapping[str, object], environment: Mapping[str, str]) -> int:
    """Serve until SIGINT or SIGTERM; the exit status. Raises BadConfiguration or DataFolderBusy before any process
    was started."""
    check_startable()
    data = Path(os.path.abspath(data))
    settings = with_index(config.load(data, environment, flags), environment)
    sockets.check_exposure(settings.server)
    isolation = settings.keeper.isolation
    if isolation in ("namespaces", "strict") and os.geteuid() != 0:
        raise BadConfiguration(f"keeper.isolation = {isolation} needs root; must be auto or process without it")
    if os.geteuid() == 0:
        check_users(settings.keeper)
        check_readable()
    os.umask(0o077)
    logs.set_up("parent")
    server = Server(data, settings, environment)
    try:
        return Watch(server).run()
    finally:
        server.close()
        log.info("Corral stopped")


class Watch:
    """The loop: starts, waits, starts again, stops."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._children = server.children()
        self._selector = selectors.DefaultSelector()
        self._stop_asked = 0
        self._unusable = False
        self._greeting = Greeting(server.url, server.token, self._selector)

    def run(self) -> int:
        become_subreaper()
        waker, woken = socket.socketpair()
        for end in (waker, woken):
            end.setblocking(False)
        signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask_stop)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        self._selector.register(waker, selectors.EVENT_READ, lambda: waker.recv(4096))
        try:
            self._serve()
        finally:
            self._stop()
        return 2 if self._unusable else 0

    def _ask_stop(self, number: int, frame: object) -> None:
        self._stop_asked += 1

    def _serve(self) -> None:
        for child in self._children.values():
            child.start(time.monotonic())
        while not self._stop_asked and not self._unusable:
            self._reap()
            self._start_due()
            if self._greeting.is_due(time.monotonic()):
                self._greeting.ask()
            self._wait(self._next_at())
            if self._greeting.answer is not None:
                self._say_hello()

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self._children.values():
            if child.start_at is not None and child.start_at <= now:
                child.start(now)

    def _next_at(self) -> float | None:
        moments = [child.start_at for child in self._children.values()] + [self._greeting.next_at]
        return min((moment for moment in moments if moment is not None), default=None)

    def _wait(self, until: float | None) -> None:
        """Until a signal, the greeting's answer or the moment `until`."""
        timeout = None if until is None else max(0.0, until - time.monotonic())
        for key, _ in self._selector.select(timeout):
            key.data()

    def _reap(self) -> None:
        """Collect everything that ended, ours or adopted."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in self._children.values():
                if child.pid == pid:
                    self._ended(child, status)

    def _ended(self, child: Child, status: int) -> None:
        code = os.waitstatus_to_exitcode(status)
        pause = child.ended(time.monotonic())
        if self._stop_asked:
            return
        if code == config.EXIT_UNUSABLE:
            self._unusable = True
            return
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        log.warning(f"{child.name} {how}, is started again", extra={"pause_s": pause})
        if child.name == "keeper":
            # Its zygotes and instances fell to us. The next keeper knows nothing of them.
            sweep({other.pid for other in self._children.values() if other.pid is not None})

    def _say_hello(self) -> None:
        lines = self._greeting.lines(self._server.data, self._server.token_file)
        self._greeting.close()
        print("\n".join(lines), flush=True)

    def _stop(self) -> None:
        """Gateway first, so that its calls find their instances; then the others; then whatever is left."""
        log.info("Corral stops")
        self._stop_asked += 1
        self._greeting.close()
        asked = self._stop_asked
        for names, patience_s in ((("gateway",), DRAIN_S), (("engine", "keeper"), END_S)):
            for name in names:
                self._children[name].signal(signal.SIGTERM)
            deadline = time.monotonic() + patience_s
            while any(self._children[name].pid for name in names):
                if time.monotonic() >= deadline or self._stop_asked > asked:
                    break
                self._wait(min(deadline, time.monotonic() + 0.05))
                self._reap()
        sweep(set())
