"""What was seen of a function in one minute <-> bytes: of 10,000 functions called each minute a byte more is 200 MB
in 14 days. An entry is a few varints: minute of the hour, calls, n, then n times (idle minutes, how often)."""

from collections.abc import Iterator

from corral.model import FunctionKey
from corral.ports import MinuteSeen

HOUR = 60


def entry(seen: MinuteSeen) -> bytes:
    numbers = [seen.minute % HOUR, seen.calls, len(seen.idle_times)]
    for pair in seen.idle_times.items():
        numbers += pair
    return b"".join(map(_varint, numbers))


def entries(key: FunctionKey, hour: int, stored: bytes) -> Iterator[MinuteSeen]:
    """In the order they were appended; a minute comes twice when the clock went back. Raises ValueError when it is
    none of ours."""
    numbers = _numbers(stored)
    for minute in numbers:
        calls, bins = _next(numbers), _next(numbers)
        idle_times = {_next(numbers): _next(numbers) for _ in range(bins)}
        yield MinuteSeen(key=key, minute=hour * HOUR + minute, calls=calls, idle_times=idle_times)


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last byte have the highest bit."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _numbers(stored: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in stored:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield number
            number = shift = 0
    if shift:
        raise ValueError("it ends within a number")


def _next(numbers: Iterator[int]) -> int:
    for number in numbers:
        return number
    raise ValueError("it ends within an entry")
