import pytest

from corral.bench.command import CommandFailed, environment, run
from corral.bench.server import Server

NOBODY = Server(url="http://127.0.0.1:1", token="secret", pid=None)


def test_a_failed_command_says_its_own_words() -> None:
    with pytest.raises(CommandFailed, match=r"corral list ended with 4: .*no answer from http://127.0.0.1:1"):
        run(NOBODY, "list")


def test_settings_of_the_person_at_the_keyboard_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORRAL_SERVER_PORT", "1")
    monkeypatch.setenv("CORRAL_TOKEN", "mine")
    found = {name: value for name, value in environment(NOBODY).items() if name.startswith("CORRAL_")}
    assert found == {"CORRAL_URL": "http://127.0.0.1:1", "CORRAL_TOKEN": "secret"}
