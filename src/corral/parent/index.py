"""Where functions' dependencies come from: what is not set is read from the machine's own configuration, once."""

import configparser
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from corral.config import Layers, Settings
from corral.errors import BadConfiguration
from corral.sandbox.building import PROXIES, proxies

INDEX = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
EXTRA = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL")
CERTIFICATES = ("SSL_CERT_FILE", "PIP_CERT")
PROXY_VARIABLES = [spelled for name in PROXIES for spelled in (name, name.lower())]
"""Variables that say how the index is reached."""


def with_index(settings: Settings, environment: Mapping[str, str]) -> Settings:
    """With every question of `settings.layers` answered. Raises BadConfiguration."""
    said, pip = settings.layers, _pip_settings(environment)
    layers = msgspec.structs.replace(
        said,
        index_url=said.index_url or _first(environment, INDEX) or pip.get("index-url", ""),
        extra_index_url=" ".join(
            (said.extra_index_url or _first(environment, EXTRA) or pip.get("extra-index-url", "")).split()
        ),
        certificates=said.certificates or _first(environment, CERTIFICATES) or pip.get("cert", ""),
    )
    _check(layers)
    if layers.install == "auto":
        layers = msgspec.structs.replace(layers, install=_install(settings, layers, environment))
    return msgspec.structs.replace(settings, layers=layers)


def without_secrets(settings: Settings) -> Settings:
    """For processes that do not ask the index."""
    return msgspec.structs.replace(
        settings, layers=msgspec.structs.replace(settings.layers, index_url="", extra_index_url="")
    )


def _install(settings: Settings, layers: Layers, environment: Mapping[str, str]) -> str:
    if settings.keeper.network_host == "forbidden":
        return "none"
    # Whatever runs while a package is built could read the password.
    asked = [*_urls(layers), *proxies(environment)]
    return "wheels" if any("@" in urlsplit(url).netloc for url in asked) else "source"


def _urls(layers: Layers) -> list[str]:
    return [layers.index_url, *layers.extra_index_url.split()]


def _check(layers: Layers) -> None:
    for url in filter(None, _urls(layers)):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            # Not the address itself: it may hold a password.
            scheme = parts.scheme or "no scheme"
            raise BadConfiguration(
                f"an address of the package index begins with {scheme!r}, must be http:// or https:// and a host: "
                "layers.index_url, layers.extra_index_url, or pip's and uv's own"
            )
    if layers.certificates and not Path(layers.certificates).is_file():
        raise BadConfiguration(f"layers.certificates = {layers.certificates!r}, must be a file; there is none")


def _first(environment: Mapping[str, str], names: Sequence[str]) -> str:
    return next((environment[name] for name in names if environment.get(name)), "")


def _pip_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Of pip's files, those that win last. Asking pip itself takes a third of a second."""
    home = Path(environment.get("HOME") or "/")
    places = [Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), home / ".pip/pip.conf"]
    places += [
        Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf",
        Path(sys.prefix) / "pip.conf",
    ]
    named = environment.get("PIP_CONFIG_FILE")
    if named is not None:
        places = [] if named == os.devnull else [*places, Path(named)]
    found: dict[str, str] = {}
    for place in places:
        parser = configparser.RawConfigParser()
        try:
            parser.read(place, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError):
            continue
        for section in ("global", "install"):
            if parser.has_section(section):
                found |= dict(parser.items(section))
    return found
