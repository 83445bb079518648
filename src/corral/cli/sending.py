"""A deployment's way to the server: its package first, then what shall become of it."""

from typing import Any

from corral.cli.client import Client, functions_path
from corral.package.manifest import Deployment


def upload(client: Client, namespace: str, content: bytes) -> str:
    """The sha256 by which the server knows the package."""
    return str(client.manage("POST", f"/namespaces/{namespace}/packages", body=content)["package"])


def put(client: Client, deployment: Deployment, package: str) -> dict[str, Any]:
    """The function as the server shows it, once the new revision serves. Raises LoadFailed, Invalid, Conflict."""
    path = functions_path(deployment.namespace, deployment.name)
    function: dict[str, Any] = client.manage("PUT", path, {"package": package, "spec": said(deployment)})
    return function


def said(deployment: Deployment) -> dict[str, Any]:
    """The spec without what is at its default, so that the server's defaults count."""
    import msgspec

    default = msgspec.to_builtins(type(deployment.spec)())
    spec = msgspec.to_builtins(deployment.spec)
    return {field: value for field, value in spec.items() if value != default[field]}
