"""`corral record`: what a server is asked and what it decides, in a file that can be raced.
`corral replay`: whether the same events lead to the same decisions again."""

import contextlib
import gzip
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.parse import urlencode

import click
import msgspec

from corral.cli.client import Client, fault_of, namespace_path
from corral.cli.options import json_option, url_option
from corral.cli.output import print_json
from corral.errors import Invalid, Unavailable

MAX_MIB = 1024
WEEK_S = 7 * 86_400.0
OVER = "the time is over"
EARLY_S = 0.5
"""What the clocks of server and client may disagree by."""


class Recorded(msgspec.Struct, kw_only=True):
    """What is in the file."""

    seconds: float = 0.0
    lines: int = 0
    calls: int = 0
    left_out: int = 0
    events: int = 0
    mib: float = 0.0
    why: str = OVER
    """It ended."""


class _Counted(msgspec.Struct):
    """Of a line, what is counted."""

    calls: list[msgspec.Raw] = []
    left_out: int = 0
    event: str | None = None
    cut: str | None = None


@click.command()
@click.argument("namespace", required=False)
@click.option("--seconds", type=click.FloatRange(1, WEEK_S), metavar="N", help="So long; else until Ctrl-C.")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="A new file; .gz: packed.")
@click.option("--max-mib", type=click.IntRange(1), default=MAX_MIB, show_default=True, metavar="N", help="File's size.")
@url_option
@json_option
def record(
    namespace: str | None, seconds: float | None, out: Path, max_mib: int, url: str | None, as_json: bool
) -> None:
    """Record the calls of NAMESPACE, for `corral race --trace FILE`: which function, when, how long it took and waited,
    never what was asked or answered. Without NAMESPACE: of all, and every event that led to a decision, for `corral
    replay FILE`; that needs a token that may manage every namespace."""
    lines = _lines(Client(url), namespace, seconds)
    done = _write(lines, out, max_mib * 1024 * 1024, seconds)
    if as_json:
        print_json(msgspec.to_builtins(done) | {"file": str(out)})
        return
    left_out = f" ({done.left_out} left out, there were too many)" if done.left_out else ""
    events = "" if namespace else f", {done.events:,} events"
    click.echo(
        f"recorded {done.calls:,} calls{left_out}{events} in {done.seconds:.0f} s: {out}, {done.mib:.1f} MiB; "
        f"ended as {done.why}"
    )


def _lines(client: Client, namespace: str | None, seconds: float | None) -> Iterator[bytes]:
    """Of a recording that has begun."""
    path = "/corral/v1/recording" if namespace is None else f"/corral/v1{namespace_path(namespace)}/recording"
    query = f"?{urlencode({'seconds': seconds})}" if seconds else ""
    answer = client.send("GET", path + query, timeout_s=2 * WEEK_S)
    if answer.status != 200:
        raise fault_of(answer.status, answer.body())
    return answer.lines()


def _write(lines: Iterator[bytes], out: Path, most_bytes: int, seconds: float | None) -> Recorded:
    """Until they end, the file is full, or Ctrl-C. `seconds`: as long as was asked for. Raises Invalid: the file is
    there, or cannot be written."""
    done, begun = Recorded(), time.monotonic()
    with _new(out) as file, _packed(file, out) as packed:
        try:
            for line in lines:
                if not line.endswith(b"\n"):
                    raise Unavailable("the answer broke off")
                packed.write(line)
                _count(done, line)
                if file.tell() > most_bytes:
                    done.why = f"the file reached {most_bytes // 1024 // 1024} MiB"
                    break
            else:
                # A server that is stopped ends its answers as if they were complete.
                if done.why == OVER and (seconds is None or time.monotonic() - begun < seconds - EARLY_S):
                    done.why = "the server ended"
        except KeyboardInterrupt:
            done.why = "it was interrupted"
        except Unavailable:
            done.why = "the server was gone"
        done.seconds = round(time.monotonic() - begun, 3)
        end = {"end": {"why": done.why, "calls": done.calls, "events": done.events, "seconds": done.seconds}}
        packed.write(msgspec.json.encode(end) + b"\n")
    done.mib = round(out.stat().st_size / 1024 / 1024, 3)
    return done


@contextlib.contextmanager
def _new(out: Path) -> Iterator[IO[bytes]]:
    try:
        with out.open("xb") as file:
            yield file
    except FileExistsError:
        raise Invalid(f"out = {str(out)!r} exists, must be a new file") from None
    except OSError as exc:
        raise Invalid(f"out = {str(out)!r} cannot be written: {exc.strerror or exc}") from exc


@contextlib.contextmanager
def _packed(file: IO[bytes], out: Path) -> Iterator[IO[bytes]]:
    if out.suffix != ".gz":
        yield file
        return
    # Without a name and a time in it: the same lines are the same file.
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=5, mtime=0) as packed:
        yield packed  # type: ignore[misc]


def _count(done: Recorded, line: bytes) -> None:
    seen = msgspec.json.decode(line, type=_Counted)
    done.lines += 1
    done.calls += len(seen.calls)
    done.left_out += seen.left_out
    done.events += seen.event is not None
    if seen.cut:
        done.why = seen.cut


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def replay(file: Path, as_json: bool) -> int:
    """Give the events of the recording FILE to the same rules again, without a server, and compare what they decide."""
    from corral.race.recording import replayed

    found = replayed(file)
    if as_json:
        print_json(msgspec.to_builtins(found))
    elif found.difference:
        click.echo(f"corral: {found.difference}", err=True)
    else:
        click.echo(f"{found.events:,} events led to the same {found.actions:,} actions")
    return 1 if found.difference else 0
