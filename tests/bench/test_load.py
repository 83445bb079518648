"""The generator against a server that is a socketpair in this test: nothing here is timed."""

import itertools
import socket

from corral.bench.load import Generator, Lane
from corral.bench.schedule import Ask, steady
from corral.bench.wires import Answer, PairWire


class Echo:
    """A wire whose server has answered before the generator looks."""

    def __init__(self, answer: bytes = b"!", *, refuses: bool = False) -> None:
        if refuses:
            raise ConnectionRefusedError("nobody listens")
        self._ours, self._theirs = socket.socketpair()
        self._answer = answer

    def fileno(self) -> int:
        return self._ours.fileno()

    def ask(self, request: bytes) -> None:
        if self._answer:
            self._theirs.send(request)
        else:
            self._theirs.close()

    def heard(self) -> Answer | None:
        data = self._ours.recv(100)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        return Answer(200, data)

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()


def test_every_planned_call_has_its_sample_in_the_plans_order() -> None:
    lane = Lane(Echo)
    samples = Generator([lane]).run(steady([b"%d" % n for n in range(20)], rate=10_000))
    lane.close()
    assert [sample.body for sample in samples] == [b"%d" % n for n in range(20)]
    assert all(sample.succeeded for sample in samples)


def test_latency_counts_from_the_intended_moment_also_when_sent_late() -> None:
    lane = Lane(Echo, most=1)
    samples = Generator([lane]).run([Ask(0.0, 0, b"a"), Ask(0.0, 0, b"b"), Ask(0.0, 0, b"c")])
    lane.close()
    assert len({sample.intended for sample in samples}) == 1
    for earlier, later in itertools.pairwise(samples):
        assert later.sent >= earlier.done, "one connection carries one call at a time"
        assert later.latency_ms >= earlier.latency_ms, "the wait for the connection is part of the latency"
        assert later.latency_ms > later.lateness_ms > 0


def test_a_lane_opens_connections_when_all_are_busy() -> None:
    ours, theirs = socket.socketpair()
    lanes = [Lane(lambda: PairWire(ours), most=1), Lane(Echo, ready=0)]
    plan = [Ask(0.0, 0, b"?"), Ask(0.0, 1, b"a"), Ask(0.0, 1, b"b")]
    generator = Generator(lanes, grace_s=0.0)
    samples = generator.run(plan)
    theirs.close()
    lanes[1].close()
    assert lanes[1].open == 2
    assert not samples[0].succeeded
    assert "no answer within" in samples[0].error


def test_a_lost_connection_is_an_error_of_its_call_only() -> None:
    doors = iter([b"!", b"", b"!"])
    lane = Lane(lambda: Echo(next(doors)), ready=0)
    samples = Generator([lane]).run([Ask(0.0, 0, b"a"), Ask(0.0, 0, b"b"), Ask(0.0, 0, b"c")])
    lane.close()
    assert [sample.status for sample in samples] == [200, 0, 200]
    assert samples[1].error == "ConnectionResetError: the server closed the connection"
    assert lane.open == 2


def test_a_door_that_does_not_open_fails_the_call_and_frees_its_place() -> None:
    lane = Lane(lambda: Echo(refuses=True), ready=0, most=1)
    samples = Generator([lane]).run([Ask(0.0, 0, b"a"), Ask(0.0, 0, b"b")])
    assert [sample.error for sample in samples] == ["ConnectionRefusedError: nobody listens"] * 2
    assert lane.open == 0


def test_a_connection_that_the_server_ended_meanwhile_is_not_used_again() -> None:
    opened: list[Echo] = []

    def door() -> Echo:
        opened.append(Echo())
        return opened[-1]

    lane = Lane(door, ready=2)
    opened[1]._theirs.close()
    samples = Generator([lane]).run([Ask(0.0, 0, b"a")])
    lane.close()
    assert samples[0].succeeded
    assert (lane.open, len(opened)) == (1, 2)
