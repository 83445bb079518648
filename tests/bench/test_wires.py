import pytest

from corral.bench.wires import Answer, parse, request

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 502 Bad Gateway\r\ntransfer-encoding: chunked\r\n\r\n5;x=1\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        pytest.param(WHOLE, Answer(200, b"hello"), id="with a length"),
        pytest.param(CHUNKED, Answer(502, b"hello!"), id="chunked"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", Answer(204, b""), id="without a body"),
    ],
)
def test_an_answer_is_read_whole_wherever_it_is_cut(data: bytes, answer: Answer) -> None:
    assert parse(data) == answer
    head_ends = data.index(b"\r\n\r\n") + 4
    without_length = b"ength" not in data and b"chunked" not in data
    for cut in range(head_ends if without_length else len(data)):
        assert parse(data[:cut]) is None


def test_what_is_not_http_is_an_error() -> None:
    with pytest.raises(OSError, match="must be HTTP"):
        parse(b"SSH-2.0-OpenSSH\r\n\r\n")


def test_request_says_how_long_its_body_is() -> None:
    sent = request("POST", "/function/f", "127.0.0.1:1", b"{}", token="t")
    assert sent == (
        b"POST /function/f HTTP/1.1\r\nhost: 127.0.0.1:1\r\nauthorization: Bearer t\r\n"
        b"content-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    )
