"""The administrator's token: made by each `up`, kept in a file of the person who ran it, found there by the CLI."""

import contextlib
import hashlib
import os
import pwd
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from corral.errors import BadConfiguration


def state_folder(environment: Mapping[str, str]) -> Path:
    """$XDG_STATE_HOME/corral or ~/.local/state/corral of the person at the keyboard: with sudo, not root's."""
    person = _sudoer(environment)
    if person is not None:
        return Path(person.pw_dir) / ".local/state/corral"
    return Path(environment.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "corral"


def token_file(url: str, environment: Mapping[str, str]) -> Path:
    """Where the token of the server at `url` lies, if `up` ran here."""
    parts = urlsplit(url)
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    name = re.sub(r"[^a-zA-Z0-9.]+", "_", f"{parts.scheme}_{host}_{port}")
    return state_folder(environment) / "servers" / f"{name}.token"


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def write_token(file: Path, environment: Mapping[str, str]) -> str:
    """Make a token and keep it in `file`, readable by its owner alone. Raises BadConfiguration: cannot be written."""
    token = secrets.token_urlsafe(32)
    try:
        with _as_sudoer(environment):
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = file.with_suffix(f".{os.getpid()}")
            with contextlib.suppress(FileNotFoundError):
                fresh.unlink()
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w") as out:
                out.write(token + "\n")
            fresh.replace(file)
    except OSError as exc:
        raise BadConfiguration(f"the token cannot be kept in {file}: {exc.strerror}; set XDG_STATE_HOME") from exc
    return token


def remove_token(file: Path, token: str, environment: Mapping[str, str]) -> None:
    """Remove the file unless a later server at the same URL has put its own token there."""
    with contextlib.suppress(OSError), _as_sudoer(environment):
        if file.read_text().strip() == token:
            file.unlink()


def _sudoer(environment: Mapping[str, str]) -> pwd.struct_passwd | None:
    uid = environment.get("SUDO_UID", "")
    if os.geteuid() != 0 or not uid.isdigit() or int(uid) == 0:
        return None
    try:
        return pwd.getpwuid(int(uid))
    except KeyError:
        return None


@contextlib.contextmanager
def _as_sudoer(environment: Mapping[str, str]) -> Iterator[None]:
    """Act as the person who called sudo. Root writing into a folder that somebody else controls would follow the
    links they put there; acting as them, it can do no more than they can."""
    person = _sudoer(environment)
    if person is None:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    os.setgroups([person.pw_gid])
    os.setegid(person.pw_gid)
    os.seteuid(person.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)
