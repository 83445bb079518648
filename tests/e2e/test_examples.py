"""The examples with other people's packages, deployed together and called."""

import struct
import zlib
from pathlib import Path

import pytest

from .server import Server

PACKAGES = Path(__file__).parents[2] / "examples/packages"
NAMESPACE = "packages"
PRICES = b"city,price\nRome,2\nOslo,5\nRome,4\nOslo,\n"


@pytest.fixture(scope="module")
def deployed(shared: Server) -> Server:
    done = shared.cli("deploy", str(PACKAGES), "-n", NAMESPACE)
    if b"error sending request" in done.stderr or b"dns error" in done.stderr:
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b"deployed ") == 3
    return shared


def png(width: int, height: int) -> bytes:
    """A red image, made by hand."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\xff\0\0" * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_thumbnail_is_as_small_as_asked_and_keeps_its_shape(deployed: Server) -> None:
    answer = deployed.ask("POST", f"/function/thumbnail.{NAMESPACE}?size=40", png(400, 200))
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    assert struct.unpack(">II", answer.body[16:24]) == (40, 20)
    assert deployed.ask("POST", f"/function/thumbnail.{NAMESPACE}", b"no image").status == 415
    assert deployed.ask("POST", f"/function/thumbnail.{NAMESPACE}?size=0", png(4, 2)).status == 400


def test_page_is_html_made_of_its_file(deployed: Server) -> None:
    page = deployed.ask("GET", f"/function/page.{NAMESPACE}")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"<title>A page from Markdown</title>" in page.body
    assert b"<td><strong>bold</strong></td>" in page.body
    assert b"About these pages" in deployed.ask("GET", f"/function/page.{NAMESPACE}/about").body
    assert deployed.ask("GET", f"/function/page.{NAMESPACE}/nowhere").status == 404


def test_statistics_are_of_the_whole_table_and_of_groups(deployed: Server) -> None:
    whole = deployed.ask("POST", f"/function/statistics.{NAMESPACE}", PRICES).json()
    assert (whole["rows"], whole["columns"]["price"]["median"]) == (4, 4.0)
    by_city = deployed.ask("POST", f"/function/statistics.{NAMESPACE}?by=city", PRICES).json()["city"]
    assert by_city["Rome"]["price"] == {"count": 2.0, "mean": 3.0, "min": 2.0, "median": 3.0, "max": 4.0}
    assert by_city["Oslo"]["price"]["count"] == 1.0
    empty = deployed.ask("POST", f"/function/statistics.{NAMESPACE}", b"")
    assert (empty.status, "send CSV" in empty.json()["error"]) == (400, True)
    none = deployed.ask("POST", f"/function/statistics.{NAMESPACE}?by=town", PRICES)
    assert none.json()["error"] == "by = 'town', must be one of city, price"
