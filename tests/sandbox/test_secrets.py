"""What one function knows stays out of the memory of all others, however they were started. Runs on all of BACKENDS."""

import pytest

from corral.model import FunctionSpec, spec_problems

from .stage import Stage
from .test_contract import ECHO, on, tier
from .test_parking import parked

__all__ = ["tier"]

SCAN = """
def main(args):
    # In halves, which are nowhere put together: so the search does not find what it searches with.
    head, tail = args["head"].encode(), args["tail"].encode()
    found = 0
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps.read().splitlines():
            place, rights = line.split()[:2]
            if "r" not in rights or "[v" in line:
                continue
            start, end = (int(number, 16) for number in place.split("-"))
            memory.seek(start)
            chunk = memory.read(end - start) or b""
            at = chunk.find(head)
            while at >= 0:
                found += chunk.startswith(tail, at + len(head))
                at = chunk.find(head, at + 1)
    return {"found": found}
"""
WAYS = {"parked": "none", "forked": "host"}
"""How it is started -> the network for which it is."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("neighbours_way", WAYS)
def test_no_function_finds_a_neighbours_environment_in_its_memory(tier: str, way: str, neighbours_way: str) -> None:
    async def play(made: Stage) -> None:
        slots = await parked(made, 2)
        env = {"TOKEN": "neighbour-" + "0123456789abcdef", "MORE": "x" * 20_000}
        neighbour = await made.start(ECHO, slot=slots[0], env=env, network=WAYS[neighbours_way])
        await made.call(neighbour)
        own = {"TOKEN": "very-own-" + "fedcba9876543210"}
        # One that waited meanwhile, and one that is forked only now.
        for slot in (slots[1], (await parked(made))[0]):
            scanner = await made.start(SCAN, slot=slot, env=own, network=WAYS[way])
            assert (await made.call(scanner, head="neighbour-", tail="0123456789abcdef"))["found"] == 0
            assert (await made.call(scanner, head="very-own-", tail="fedcba9876543210"))["found"] > 0

    on(tier, play)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("character", ["é", "\U0001f600", "\x01"])
def test_a_large_environment_arrives_whole(tier: str, way: str, character: str) -> None:
    code = "import os\ndef main(args):\n    return {'size': len(os.environ['A']), 'ends': os.environ['A'][-1]}\n"

    async def play(made: Stage) -> None:
        slots = await parked(made)
        instance = await made.start(code, slot=slots[0], env={"A": character * 60_000}, network=WAYS[way])
        assert await made.call(instance) == {"size": 60_000, "ends": character}

    on(tier, play)


def test_an_environment_is_measured_in_bytes() -> None:
    assert list(spec_problems(FunctionSpec(env={"A": "é" * 32_000}))) == []
    for character in ("é", "\U0001f600"):
        (problem,) = spec_problems(FunctionSpec(env={"A": character * 60_000}))
        assert problem == f"env holds {60_000 * len(character.encode()) + 1} bytes, must be at most 65536 in all"
