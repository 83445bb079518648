"""A stop ends what runs, not what is nearly done."""

import http.client
import threading

from .server import Answer, Server, wait_for

NAP = """
import time
def handler(event):
    print("napping", flush=True)
    time.sleep(0.6)
    return "rested"
"""


def test_call_in_flight_at_a_stop_gets_its_answer(server: Server) -> None:
    server.deploy("nap", NAP)
    idle = http.client.HTTPConnection(server.host, timeout=10)
    idle.request("GET", "/healthz")
    idle.getresponse().read()
    answers: list[Answer] = []
    caller = threading.Thread(target=lambda: answers.append(server.call("nap")))
    with server.following("nap") as log:
        caller.start()
        assert log.line().endswith("napping")
    assert server.stop() == 0
    caller.join(10)
    assert [(each.status, each.body, each.headers["connection"]) for each in answers] == [(200, b"rested", "close")]
    assert idle.sock is not None and idle.sock.recv(1) == b""
    idle.close()


def test_stop_does_not_wait_for_idle_connections(server: Server) -> None:
    idle = http.client.HTTPConnection(server.host, timeout=10)
    idle.request("GET", "/healthz")
    idle.getresponse().read()
    assert server.stop() == 0
    assert idle.sock is not None and idle.sock.recv(1) == b""
    idle.close()


def test_stop_with_many_instances_leaves_nothing(server: Server) -> None:
    server.deploy("many", "def handler(event): return 'up'\n", "--min", "60", "--max", "60", "--memory", "64")
    wait_for("60 instances", lambda: len(server.described("many")["instances"]) == 60)
    assert server.stop() == 0
    assert server.belongings() == []
