"""Settings from file, environment and flags, and the sentence for each mistake in them."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from corral.config import load
from corral.errors import BadConfiguration


def test_flag_wins_over_environment_and_environment_over_file(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[server]\nport = 1\n[keeper]\nslots = 2\n[gateway]\nidle_s = 3\n")
    environment = {"CORRAL_SERVER_PORT": "4", "CORRAL_KEEPER_SLOTS": "5"}
    settings = load(tmp_path, environment, {"server.port": "6", "gateway.idle_s": None})
    assert (settings.server.port, settings.keeper.slots, settings.gateway.idle_s) == (6, 5, 3.0)


@pytest.mark.parametrize(
    ("file", "environment", "flags", "sentence"),
    [
        ("", {}, {"server.port": "abc"}, "server.port = 'abc', must be a whole number"),
        ("", {"CORRAL_GATEWAY_IDLE_S": "soon"}, {}, "gateway.idle_s = 'soon', must be a number"),
        ("[server]\nhost = 7\n", {}, {}, "server.host = 7, must be text"),
        ("[server]\nprot = 7\n", {}, {}, "server.prot is not known, must be one of host, port, auth"),
        ("port = 7\n", {}, {}, "{file}: port = 7 stands above every table, must stand under [server]"),
        ("colour = 7\n", {}, {}, "{file}: colour is not known"),
        ("server = 7\n", {}, {}, "{file}: server = 7, must be a table"),
        (
            "[sever]\n",
            {},
            {},
            "{file}: [sever] is not known, must be one of [server], [gateway], [engine], [keeper], [layers]",
        ),
    ],
)
def test_mistake_is_a_sentence(
    tmp_path: Path, file: str, environment: Mapping[str, str], flags: Mapping[str, str], sentence: str
) -> None:
    (tmp_path / "config.toml").write_text(file)
    with pytest.raises(BadConfiguration) as caught:
        load(tmp_path, environment, flags)
    assert caught.value.message == sentence.format(file=tmp_path / "config.toml")


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("port = 1\n[keeper]\nslots = 0\n")
    with pytest.raises(BadConfiguration) as caught:
        load(tmp_path, {}, {"server.auth": "none"})
    assert len(caught.value.message.splitlines()) == 3
