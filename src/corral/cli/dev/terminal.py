"""The events as one tidy stream of words."""

import threading
import time

import click
import msgspec

from corral.cli.dev.events import Called, Event, Installing, Loaded, Logged, Refused, Removed, Serving


class JsonLines:
    """An event a line, for programs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def tell(self, event: Event) -> None:
        with self._lock:
            click.echo(msgspec.json.encode(event).decode())


class Terminal:
    """Time, function, what happened."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._width = 0

    def tell(self, event: Event) -> None:
        with self._lock:
            for line in self._lines(event):
                click.echo(line)

    def _lines(self, event: Event) -> list[str]:
        match event:
            case Serving():
                return [f"corral dev serves at {event.url} until Ctrl-C"]
            case Installing():
                return [self._head(event, "") + f"installing {event.packages} and what they need …"]
            case Loaded():
                return self._loaded(event)
            case Refused():
                return self._refused(event)
            case Removed():
                return [self._head(event, event.function) + "removed"]
            case Logged():
                return [self._head(event, event.function) + f"{_short(event.request)} | {event.line}"]
            case Called():
                return [self._head(event, event.function) + _call(event)]
        raise AssertionError(event)

    def _loaded(self, event: Loaded) -> list[str]:
        self._width = max(self._width, len(event.function))
        what = "loaded" if event.is_first else "reloaded"
        head = self._head(event, event.function)
        lines = [head + click.style(f"{what} in {event.took_ms:.0f} ms", fg="green") + f" ({event.style})"]
        if event.is_first:
            lines.append(" " * 9 + _how_to_call(event))
        return lines

    def _refused(self, event: Refused) -> list[str]:
        error, *more = event.error.splitlines()
        head = self._head(event, event.function or "")
        lines = [head + click.style(f"not loaded: {error}", fg="red")]
        lines += [" " * 9 + line for line in [*more, *event.trace]]
        if event.serving is not None:
            lines.append(f"{' ' * 9}revision {event.serving}, the last that loaded, goes on serving")
        return lines

    def _head(self, event: Event, function: str) -> str:
        when = click.style(time.strftime("%H:%M:%S ", time.localtime(event.at)), dim=True)
        return when + (f"{function:{self._width}} " if function else "")


def _how_to_call(event: Loaded) -> str:
    if not event.is_private:
        return f"curl {event.url}"
    # It finds the token by itself.
    return f"corral invoke {event.function} --url {event.url.partition('/function/')[0]}"


def _call(event: Called) -> str:
    colour = "red" if event.status >= 500 else "yellow" if event.status >= 400 else "green"
    status = click.style(str(event.status), fg=colour)
    said = f"{_short(event.request)} {event.method} {event.path} {status} in {event.took_ms:.1f} ms"
    if event.is_cold:
        said += ", cold start"
    if not event.is_whole:
        said += ", the client left" if event.status == 499 else ", broke off"
    return said + (f" ({event.left_out} calls before it are not shown)" if event.left_out else "")


def _short(request: str) -> str:
    """The end of a request id is enough to tell the calls of a developer apart."""
    return click.style((request[-6:] or "-").ljust(6), dim=True)
