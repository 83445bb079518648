"""Which marshalled modules are kept."""

from corral.engine.codes import CODE_MAX_BYTES, Codes
from corral.model import RevisionId

ONE, TWO, THREE = (RevisionId(f"default/{name}@1") for name in ("one", "two", "three"))


def test_code_is_kept_unless_it_is_too_large() -> None:
    codes = Codes()
    codes.keep(ONE, b"marshal")
    codes.keep(TWO, b"x" * (CODE_MAX_BYTES + 1))
    assert (codes.get(ONE), codes.get(TWO)) == (b"marshal", None)
    codes.forget(ONE)
    codes.forget(TWO)
    assert codes.get(ONE) is None


def test_those_not_asked_for_longest_make_room() -> None:
    codes = Codes(bytes_max=10)
    codes.keep(ONE, b"1111")
    codes.keep(TWO, b"2222")
    assert codes.get(ONE) == b"1111"
    codes.keep(THREE, b"3333")
    assert (codes.get(ONE), codes.get(TWO), codes.get(THREE)) == (b"1111", None, b"3333")


def test_what_was_forgotten_or_given_anew_takes_no_room() -> None:
    codes = Codes(bytes_max=10)
    for _ in range(10):
        codes.keep(ONE, b"1111")
    codes.keep(TWO, b"2222")
    codes.forget(TWO)
    codes.keep(THREE, b"333333")
    assert (codes.get(ONE), codes.get(THREE)) == (b"1111", b"333333")
