"""A zygote forks instances on command, and tells of their ends."""

from .keeper import Zygote

HELLO = "def handler(event):\n    return {'hello': event.get('name', 'nobody')}\n"


def test_instance_answers_its_first_call(everywhere: Zygote) -> None:
    gateway = everywhere.start(HELLO).serve()
    assert gateway.call(b'{"name": "Ada"}').json() == {"hello": "Ada"}
