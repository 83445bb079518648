"""A deployment's way to the server: its package first, then what shall become of it."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from corral.cli.client import Client, functions_path
from corral.errors import Invalid
from corral.package.layer import dependencies
from corral.package.manifest import Deployment

TOLD_AFTER_S = 1.0


def upload(client: Client, namespace: str, content: bytes) -> str:
    """The sha256 by which the server knows the package."""
    return str(client.manage("POST", f"/namespaces/{namespace}/packages", body=content)["package"])


def put(
    client: Client, deployment: Deployment, package: str, *, tag: str | None = None, no_traffic: bool = False
) -> dict[str, Any]:
    """The function as the server shows it, once the new revision serves. Raises LoadFailed, Invalid, Conflict."""
    path = functions_path(deployment.namespace, deployment.name)
    wanted = wanted_of(deployment, package, tag, no_traffic)
    function: dict[str, Any] = client.manage("PUT", path, wanted)
    return function


def wanted_of(deployment: Deployment, package: str, tag: str | None, no_traffic: bool) -> dict[str, Any]:
    """One function of a deployment request."""
    wanted: dict[str, Any] = {"package": package, "spec": said(deployment)}
    if tag is not None:
        wanted["tag"] = tag
    return wanted | ({"no_traffic": True} if no_traffic else {})


def said(deployment: Deployment) -> dict[str, Any]:
    """The spec without what is at its default, so that the server's defaults count."""
    import msgspec

    default = msgspec.to_builtins(type(deployment.spec)())
    spec = msgspec.to_builtins(deployment.spec)
    return {field: value for field, value in spec.items() if value != default[field]}


@contextmanager
def told_of_installation(folders: Iterable[Path], tell: Callable[[str], None]) -> Iterator[None]:
    """`tell` gets "3 packages" when what happens inside takes longer and something may be installed meanwhile: whoever
    waits shall know for what. What was installed before takes no time, and no word."""
    count = sum(map(_requirements, folders))
    if not count:
        yield
        return
    word = threading.Timer(TOLD_AFTER_S, tell, ["1 package" if count == 1 else f"{count} packages"])
    word.daemon = True
    word.start()
    try:
        yield
    finally:
        word.cancel()


def _requirements(folder: Path) -> int:
    """0 also where they cannot be read: then the server says why."""
    try:
        found = dependencies(folder) if folder.is_dir() else None
    except (Invalid, OSError):
        return 0
    return 0 if found is None else len(found.lines)
