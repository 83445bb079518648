"""Where dependencies come from: what is set, else what the machine's own configuration says."""

from pathlib import Path

import pytest

from corral.config import Keeper, Layers, Settings
from corral.errors import BadConfiguration
from corral.parent.index import with_index, without_secrets

SECRET = "https://user:pass-word@one.example/simple"


def index(environment: dict[str, str], **layers: str) -> Layers:
    # pip's own files of this machine are not asked: HOME and PIP_CONFIG_FILE name others.
    settings = Settings(layers=Layers(**layers))  # type: ignore[arg-type]
    return with_index(settings, {"PIP_CONFIG_FILE": "/dev/null", **environment}).layers


def test_what_is_set_goes_before_the_environment_and_that_before_pips_files(tmp_path: Path) -> None:
    pip = tmp_path / "pip.conf"
    pip.write_text("[global]\nindex-url = https://pip.example/simple\nextra-index-url =\n  https://e1\n  https://e2\n")
    read = {"PIP_CONFIG_FILE": str(pip)}
    assert index(read).index_url == "https://pip.example/simple"
    assert index(read).extra_index_url == "https://e1 https://e2"
    said = read | {"PIP_INDEX_URL": "https://env.example/simple"}
    assert index(said).index_url == "https://env.example/simple"
    assert index(said | {"UV_DEFAULT_INDEX": "https://uv.example/simple"}).index_url == "https://uv.example/simple"
    assert index(said, index_url="https://set.example/simple").index_url == "https://set.example/simple"


def test_without_any_word_it_is_uvs_own() -> None:
    assert index({}).index_url == ""


def test_pips_files_that_cannot_be_read_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("index-url = before any section\n")
    assert index({"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}).index_url == ""


def test_what_is_installed_follows_from_what_is_allowed() -> None:
    assert index({}).install == "source"
    assert index({"PIP_INDEX_URL": SECRET}).install == "wheels", "a build could read the password"
    forbidden = Settings(keeper=Keeper(network_host="forbidden"))
    assert with_index(forbidden, {"PIP_CONFIG_FILE": "/dev/null"}).layers.install == "none"
    assert index({"PIP_INDEX_URL": SECRET}, install="source").install == "source", "said so on purpose"


@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("url", ["http://user:pass-word@proxy.example:3128", "user:pass-word@proxy.example:3128"])
def test_a_proxy_with_a_password_is_kept_from_builds(name: str, url: str) -> None:
    assert index({name: url}).install == "wheels"
    assert index({name: url}, install="source").install == "source", "said so on purpose"
    assert index({name: "http://proxy.example:3128", "NO_PROXY": "a@b"}).install == "source"


def test_other_processes_are_not_given_the_address() -> None:
    settings = without_secrets(Settings(layers=index({"PIP_INDEX_URL": SECRET, "UV_INDEX": SECRET})))
    assert "pass-word" not in str(settings)


@pytest.mark.parametrize(
    "url", ["one.example/simple", "file:///wheels", "https://", "ssh://user:pass-word@one.example"]
)
def test_an_address_that_cannot_be_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(BadConfiguration, match=r"must be http:// or https:// and a host") as caught:
        index({}, index_url=url)
    assert "pass-word" not in caught.value.message


def test_certificates_that_are_not_there_are_refused() -> None:
    with pytest.raises(BadConfiguration, match=r"layers.certificates = '/none', must be a file"):
        index({}, certificates="/none")
