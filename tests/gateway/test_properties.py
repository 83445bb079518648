"""Whatever happens in whatever order, every client is answered or has left, and every slot is given back."""

import asyncio
import contextlib
import random
from pathlib import Path

import pytest

from corral import link
from corral.model import ExitCause, Revision

from .stage import DEADLINE_S, Client, Instance, Stage, Taken, play


class Chaos:
    """Instances that answer, stream, raise, break rules or die, chosen by a seeded random source."""

    def __init__(self, s: Stage, revision: Revision, rng: random.Random) -> None:
        self.s, self.revision, self.rng = s, revision, rng
        self.carried_out: dict[str, int] = {}
        self.peaks = 0

    def behave(self, call: Taken) -> None:
        instance = call.peer.instance
        request_id = call.header("x-request-id") or ""
        running = [c for c in instance.calls if c.peer is call.peer and not c.over]
        self.peaks = max(self.peaks, len(running))
        choice = self.rng.random()
        # Later than now: an ACK that was written must have left, as it has when a process dies.
        loop = asyncio.get_running_loop()
        if choice < 0.08:
            loop.call_later(0.001, instance.die)  # without an ACK: the call is carried out elsewhere
            return
        self.carried_out[request_id] = self.carried_out.get(request_id, 0) + 1
        call.ack()
        if choice < 0.14:
            loop.call_later(0.001, instance.die)
        elif choice < 0.17:
            call.peer.send(77, 0, call.number)
        elif choice < 0.20:
            return  # never answers: its deadline ends it
        elif choice < 0.45:
            loop.call_later(self.rng.random() * 0.01, self._stream, call)
        elif choice < 0.55:
            call.over = True
            call.raises("ValueError: x")
        else:
            loop.call_later(self.rng.random() * 0.01, self._answer, call)

    def _answer(self, call: Taken) -> None:
        call.over = True
        call.answer(call.body[:9])

    def _stream(self, call: Taken) -> None:
        call.head()
        call.part(b"a")
        call.over = True
        call.part(b"b", last=True)


async def one_client(s: Stage, rng: random.Random) -> int | None:
    """The status it got; None when it left or was cut."""
    client = Client(*await asyncio.open_connection("127.0.0.1", s.port))
    try:
        body = b"x" * rng.choice((0, 3, 100_000))
        client.send(b"POST /function/echo HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        if rng.random() < 0.2:
            await asyncio.sleep(rng.random() * 0.02)
            return None
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            return (await client.response()).status
        return None
    finally:
        await client.close()


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("seed", range(4))
def test_no_slot_is_lost_in_any_order_of_events(
    tmp_path: Path, seed: int, concurrency: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corral.gateway.instance.GRACE_S", 0.05)
    monkeypatch.setattr("corral.gateway.activator.CAUSE_WAIT_S", 0.02)

    async def scene(s: Stage) -> None:
        rng = random.Random(seed)
        revision = s.deploy(concurrency=concurrency, timeout_s=0.2, hold_s=0.15, queue=30)
        chaos = Chaos(s, revision, rng)
        for _ in range(3):
            await s.instance(revision, chaos.behave)

        async def replace() -> None:
            while True:
                await asyncio.sleep(0.005)
                while len(s.gateway.activator.instances) < 3:
                    before = len(s.gateway.activator.instances)
                    await s.instance(revision, chaos.behave)
                    await s.until(lambda before=before: len(s.gateway.activator.instances) != before)  # type: ignore[misc]

        replacing = asyncio.create_task(replace())
        statuses: list[int | None] = []
        async with asyncio.timeout(DEADLINE_S * 2):
            for _ in range(4):
                clients = [asyncio.create_task(one_client(s, rng)) for _ in range(20)]
                statuses += [await client for client in clients]
            replacing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await replacing
            for instance in s.instances:
                instance.die()
            await s.settled()
        assert {status for status in statuses if status} <= {200, 429, 500, 502, 503, 504}
        assert statuses.count(200) > 10
        assert chaos.peaks <= concurrency
        assert max(chaos.carried_out.values()) == 1
        lanes = s.gateway.activator.lanes.values()
        assert [lane.calls for lane in lanes] == [{}]
        await s.until(lambda: not s.gateway.doors.connections)

    play(tmp_path, scene)


def test_instance_ids_are_free_after_their_end(tmp_path: Path) -> None:
    """What the gateway remembers of instances that ended goes with the keeper's word."""

    async def scene(s: Stage) -> None:
        revision = s.deploy(timeout_s=0.1)
        instance: Instance = await s.instance(revision)
        asked = asyncio.ensure_future(s.get())
        await instance.call()
        assert (await asked).status == 504
        await s.engine.hear(link.Overrun)
        s.engine.say(link.Gone(instance.id, ExitCause.TIMEOUT, ""))
        activator = s.gateway.activator
        await s.until(lambda: not activator._condemned and not activator._lost and not activator.instances)

    play(tmp_path, scene)
