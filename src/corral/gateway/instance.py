"""One instance as the gateway holds it: its connection, and what becomes of its calls when it goes.

It ends in one of three ways: released (idle, given up), lost (the connection broke) or overrun (a call's deadline
passed in it, and the call did not end). Whoever comes first detaches it from its lane; what the connection says
afterwards is nobody's."""

import asyncio
import socket
from time import monotonic
from typing import Protocol

from corral.contract.frame import Connection, FailedBody, ReadyBody
from corral.errors import CorralError, InstanceLost, LoadFailed, Unavailable
from corral.gateway.call import Call
from corral.link import Dropped, Failed, Gone, Message, Ready
from corral.model import STAMPS, CallId, ExitCause, InstanceId, RevisionId

GRACE_S = 5.0
"""What the other calls of an instance get when one call's deadline passed in it and it does not end."""
CANCEL_S = 1.0
"""What a call that has its instance to itself gets to end when it is cancelled at its deadline."""
CONNECT_S = 10.0
"""How long an assigned instance's socket may refuse before it counts as lost."""
STAMP_MAX_S = 600.0
"""A moment of a start longer ago than this is not one of it."""
BLOCK_S = 1.0
"""After a load failure, until the engine's own block arrives."""


class Holder(Protocol):
    """Whoever sends an instance its calls, as the instance knows it: a lane."""

    id: RevisionId

    def tell(self, message: Message, /) -> None:
        """To the engine."""
        ...

    def joined(self, instance: "Instance", in_flight: int) -> None: ...
    def ready(self, instance: "Instance", message: Ready) -> None: ...
    def freed(self, instance: "Instance") -> None: ...
    def retire(self, instance: "Instance") -> None: ...
    def load_failed(self, instance: "Instance", fault: LoadFailed, until: float) -> None: ...
    def lost(self, instance: "Instance") -> None: ...
    def tell_lost(self, instance: "Instance", call: Call, fault: CorralError) -> None: ...


class Instance:
    """See the module. `fresh`: it was only starting when it came, and this gateway sees its READY first."""

    def __init__(self, instance: InstanceId, lane: Holder, address: str, fresh: bool) -> None:
        self.id = instance
        self.lane = lane
        self.address = address
        self.fresh = fresh
        self.assigned_at = monotonic()
        self.ready_at = 0.0
        """Monotonic moment of its READY; 0.0: not yet."""
        self.connection = Connection(self)
        self.gone: Gone | None = None
        self.heard_out = True
        """Whether all that it said was read before it was lost. If not, a call without ACK may have begun."""
        self.condemned = False
        """Only killing helps: a call's deadline passed in it, or it broke the rules."""
        self._attached = True
        self._overrun: set[CallId] = set()
        """Calls whose deadline passed while their function ran, and that have not ended since."""
        self._grace: asyncio.TimerHandle | None = None
        self._bereaved: list[Call] = []
        self._code: bytes | None = None
        self._connecting: asyncio.Task[None] | None = None

    def connect(self, loop: asyncio.AbstractEventLoop) -> None:
        """Owned here: cancelled when the instance is detached."""
        self._connecting = loop.create_task(self._connect(loop), name=f"connect {self.id}")

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> None:
        path = self.address.removeprefix("unix:")
        delay = 0.001
        until = monotonic() + CONNECT_S
        while monotonic() < until:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.setblocking(False)
            try:
                # A unix socket that listens is connected at once; a full backlog (EAGAIN) is tried again as well.
                sock.connect(path)
                self.connection.keep(sock.dup())
                await loop.create_unix_connection(lambda: self.connection, sock=sock)
                return
            except OSError:
                sock.close()
            await asyncio.sleep(delay)
            delay = min(delay * 2, 0.05)
        self.lost("")  # it never listened, so nothing was begun

    # -- what the instance says (contract.frame.Holder) -----------------------------------------------------

    def said_hello(self, in_flight: int) -> None:
        if self._attached and not self.fresh:
            self.lane.joined(self, in_flight)

    def said_code(self, code: bytes) -> None:
        self._code = code

    def said_ready(self, ready: ReadyBody) -> None:
        if not self._attached:
            return
        self.ready_at = monotonic()
        # User code may run where these come from: only known names and moments that can be true.
        stamps = {name: at for name in STAMPS if 0 <= self.ready_at - (at := ready.stamps.get(name, 0.0)) < STAMP_MAX_S}
        stamps["ready"] = self.ready_at
        message = Ready(self.id, ready.style, ready.is_async, ready.concurrency, stamps, self._code)
        self._code = None
        self.lane.ready(self, message)

    def said_failed(self, failed: FailedBody) -> None:
        if not self._attached:
            return
        self.lane.tell(Failed(self.id, failed.error, failed.traceback))
        fault = LoadFailed(failed.error, traceback=failed.traceback)
        self._detach()
        self.lane.load_failed(self, fault, monotonic() + BLOCK_S)
        self.connection.close()

    def freed(self) -> None:
        if self._attached:
            self.lane.freed(self)

    def exhausted(self) -> None:
        self.lane.retire(self)

    def lost(self, why: str) -> None:
        if not self._attached:
            return
        self._detach()
        self.lane.tell(Dropped(self.id))
        if why:
            self.heard_out = False
            self.gone = self.gone or Gone(self.id, ExitCause.CRASHED, why)
            self.condemned = True
        self.lane.lost(self)

    # -- how it ends ----------------------------------------------------------------------------------------

    def release(self) -> None:
        """Idle and given up."""
        self._detach()
        self.connection.close()

    def overrun(self, call: Call) -> None:
        """This call's deadline passed in it, and it was cancelled: no new calls come here. Only killing ends a plain
        function; an async one ends at its next await, and then those beside it go on. A call whose request is not
        whole has not begun and harms nobody: else whoever sends slowly could have instances killed."""
        if not self._attached or not call.is_sent:
            return
        if self.connection.is_serial:
            self._kill()
            return
        self._overrun.add(call.id)
        self.lane.retire(self)
        if self._grace is None:
            grace = CANCEL_S if self.connection.in_flight <= 1 else GRACE_S
            self._grace = asyncio.get_running_loop().call_later(grace, self._kill)

    def ended_late(self, call: Call) -> None:
        """It said LAST for a call after its deadline. What it still runs ends in peace, and it is released then."""
        self._overrun.discard(call.id)
        if not self._overrun and self._grace is not None:
            self._grace.cancel()
            self._grace = None

    def _kill(self) -> None:
        if not self._attached:
            return
        self._detach()
        self.heard_out = False
        self.condemned = True
        self.gone = Gone(self.id, ExitCause.TIMEOUT, "instance ended by another call")
        self.lane.lost(self)
        self.connection.close()

    def ended(self, gone: Gone) -> None:
        """The keeper says it ended."""
        self.gone = gone
        self.answer_bereaved()
        if self._attached:
            # What it wrote before its end may still be in the socket: the end of file comes right behind it.
            asyncio.get_running_loop().call_later(0.05, self._end)

    def _end(self) -> None:
        self.connection.hear_out()
        self.lost("")
        self.connection.close()

    def bereave(self, call: Call) -> None:
        """The call ends with this instance: told at once why, or with `answer_bereaved`."""
        if self.gone is not None:
            self._refuse(call)
        else:
            self._bereaved.append(call)

    def answer_bereaved(self) -> None:
        """Nothing more will be known of how it ended."""
        for call in self._bereaved:
            self._refuse(call)
        self._bereaved.clear()

    def _refuse(self, call: Call) -> None:
        fault = self._fault()
        call.refuse(fault)
        if isinstance(fault, InstanceLost):
            self.lane.tell_lost(self, call, fault)

    def _fault(self) -> CorralError:
        gone = self.gone
        if gone is None:
            return InstanceLost("the instance ended while it held the call")
        if gone.cause is ExitCause.LOAD_FAILED:
            return LoadFailed(gone.detail)
        if gone.cause is ExitCause.START_FAILED:
            return Unavailable(gone.detail)
        return InstanceLost(f"the instance ended while it held the call: {gone.detail or gone.cause.value}")

    def _detach(self) -> None:
        self._attached = False
        if self._connecting is not None and not self._connecting.done():
            self._connecting.cancel()
        if self._grace is not None:
            self._grace.cancel()
