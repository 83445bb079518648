"""`corral record` writes what a server tells, within its bounds."""

import contextlib
import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from corral.cli.record import record, replay
from corral.errors import Invalid, NotFound

HEAD = b'{"corral_recording":1,"version":"0.1.0","namespace":null,"wall":1.0,"now":1.0}\n'
CALL = b'{"calls":[["default/f@1",2.0,0.0,0.1,false,200]],"left_out":2}\n'
TOLD = {
    "": HEAD + b'{"event":"tick","args":[1.0],"named":{},"actions":[]}\n' + CALL,
    "/namespaces/long": HEAD + CALL * 100_000,
    "/namespaces/broken": HEAD + CALL + CALL[:20],
    "/namespaces/cut": HEAD + b'{"cut":"it was not read as fast as it grew"}\n',
}


class Told(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0].removeprefix("/corral/v1").removesuffix("/recording")
        body = TOLD.get(path)
        self.send_response(404 if body is None else 200)
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # it had enough
            self.wfile.write(body or b'{"error": {"code": "not_found", "message": "no such namespace"}}')

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Told) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def run(url: str, *words: str) -> str:
    return CliRunner().invoke(record, ["--url", url, *words], catch_exceptions=False, standalone_mode=False).output


@pytest.mark.parametrize("name", ["file.jsonl", "file.jsonl.gz"])
def test_lines_are_written_as_they_came_and_ended_with_the_sums(url: str, tmp_path: Path, name: str) -> None:
    said = run(url, "--out", str(tmp_path / name))
    assert said.startswith("recorded 1 calls (2 left out, there were too many), 1 events in 0 s")
    written = (tmp_path / name).read_bytes()
    written = gzip.decompress(written) if name.endswith(".gz") else written
    assert written.startswith(TOLD[""])
    end = json.loads(written[len(TOLD[""]) :])["end"]
    assert (end["why"], end["calls"], end["events"]) == ("the server ended", 1, 1)


@pytest.mark.parametrize("name", ["file.jsonl", "file.jsonl.gz"])
def test_file_does_not_grow_beyond_its_limit(url: str, tmp_path: Path, name: str) -> None:
    said = json.loads(run(url, "long", "--out", str(tmp_path / name), "--max-mib", "1", "--json"))
    if name.endswith(".gz"):
        assert (said["why"], said["calls"]) == ("the server ended", 100_000)
    else:
        assert said["why"] == "the file reached 1 MiB"
    assert (tmp_path / name).stat().st_size < 1024 * 1024 + 200


def test_half_a_line_is_not_written(url: str, tmp_path: Path) -> None:
    assert "ended as the server was gone" in run(url, "broken", "--out", str(tmp_path / "f"))
    assert [len(line) for line in (tmp_path / "f").read_bytes().splitlines(keepends=True)][:2] == [len(HEAD), len(CALL)]
    assert json.loads((tmp_path / "f").read_bytes().splitlines()[2])["end"]["calls"] == 1


def test_end_by_the_server_is_said(url: str, tmp_path: Path) -> None:
    assert "ended as it was not read as fast" in run(url, "cut", "--out", str(tmp_path / "f"))


def test_server_that_ended_early_is_told_from_the_end_of_the_time(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that is stopped ends its answers as if they were complete."""
    assert "in 0 s" in (early := run(url, "--seconds", "60", "--out", str(tmp_path / "early")))
    assert "ended as the server ended" in early
    monkeypatch.setattr("corral.cli.record.EARLY_S", 60)
    assert "ended as the time is over" in run(url, "--seconds", "60", "--out", str(tmp_path / "over"))


def test_file_that_exists_is_kept(url: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("precious")
    with pytest.raises(Invalid, match="exists, must be a new file"):
        run(url, "--out", str(tmp_path / "f"))
    assert (tmp_path / "f").read_text() == "precious"


def test_refusal_leaves_no_file(url: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        run(url, "nowhere", "--out", str(tmp_path / "f"))
    assert not (tmp_path / "f").exists()


def test_folder_that_cannot_be_written_is_named(url: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot be written: No such file or directory"):
        run(url, "--out", str(tmp_path / "none/f"))


def test_replay_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(HEAD)
    with pytest.raises(Invalid, match="has no journal"):
        CliRunner().invoke(replay, [str(tmp_path / "f")], catch_exceptions=False, standalone_mode=False)
