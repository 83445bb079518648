"""Settings from file, environment and flags, and the sentence for each mistake in them."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from corral.config import Budget, load
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
            "{file}: [sever] is not known, must be one of [server], [gateway], [engine], [keeper], [layers], [budget]",
        ),
        (
            "",
            {},
            {"budget.memory": "much"},
            "budget.memory = 'much', must be a part or an amount, as 80%, 4096MiB or 4GiB",
        ),
        ("", {}, {"budget.memory": "101%"}, "budget.memory = 101%, must be between 1% and 100%"),
        ("", {}, {"budget.memory": "63MiB"}, "budget.memory = 63MiB, must be at least 64MiB"),
        ("", {}, {"budget.zygotes_percent": "101"}, "budget.zygotes_percent = 101, must be at most 100"),
        ("", {}, {"budget.zygote_saves_ms": "0"}, "budget.zygote_saves_ms = 0.0, must be above 0"),
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


@pytest.mark.parametrize(
    ("memory", "machine_mib", "limit_mib"),
    [("80%", 1000, 800), ("80%", 0, float("inf")), ("4GiB", 1000, 4096), ("512MiB", 0, 512), ("1.5 GiB", 0, 1536)],
)
def test_budget_is_a_part_of_the_machine_or_an_amount(memory: str, machine_mib: float, limit_mib: float) -> None:
    assert Budget(memory=memory).limit_mib(machine_mib) == limit_mib
