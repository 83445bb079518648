import pytest

from corral.bench.warm import Block, parse_wrk

QUIET = """\
Running 2s test @ http://127.0.0.1:8080/function/echo
  1 threads and 32 connections
  30000 requests in 2.00s, 3.00MB read
Requests/sec:  15000.25
Transfer/sec:      1.50MB
"""


def test_wrk_without_errors() -> None:
    assert parse_wrk(QUIET) == Block(15_000.25, 0)


def test_wrk_counts_refusals_and_broken_connections() -> None:
    said = QUIET.replace(
        "Requests/sec",
        "  Socket errors: connect 1, read 2, write 0, timeout 4\n  Non-2xx or 3xx responses: 100\nRequests/sec",
    )
    assert parse_wrk(said) == Block(15_000.25, 107)


def test_wrk_that_could_not_connect_has_no_rate() -> None:
    with pytest.raises(ValueError, match="printed no rate"):
        parse_wrk("unable to connect to 127.0.0.1:1 Connection refused\n")
