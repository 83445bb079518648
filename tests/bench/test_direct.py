"""The instance the added latency is measured against: the runtime as the keeper starts it, without a gateway."""

import json
import select

from corral.bench.direct import direct_instance
from corral.bench.frames import FrameWire
from corral.bench.functions import ECHO


def test_direct_instance_answers_a_client_of_frame() -> None:
    head = b"POST /\r\ncontent-type: application/json\r\nx-request-id: one\r\n"
    with direct_instance(ECHO) as path:
        wire = FrameWire(path, head, b'{"name":"x"}')
        wire.ask(b"")
        answer = None
        while answer is None:
            assert select.select([wire], [], [], 10.0)[0], "no answer within 10 s"
            answer = wire.heard()
        wire.close()
    assert answer.status == 200
    assert json.loads(answer.body)["name"] == "x"
