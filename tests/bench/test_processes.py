from corral.bench.processes import Process, permanent

UP = Process(10, 1, "python -m corral.cli.main up", 0.0)
KEEPER = Process(11, 10, "python -P -m corral.keeper.main", 0.0)
ENGINE = Process(12, 10, "python -P -m corral.engine.main", 0.0)
GATEWAY = Process(13, 10, "python -P -m corral.gateway.main", 0.0)
ZYGOTE = Process(14, 11, "python -I -S /usr/lib/corral/runtimes/python/zygote.py 5", 0.0)
INSTANCES = [Process(pid, 14, ZYGOTE.command, 0.0) for pid in (20, 21)]
OTHER_ZYGOTE = Process(15, 11, ZYGOTE.command, 0.0)


def test_the_permanent_processes_are_known_by_their_place() -> None:
    roles = permanent([UP, KEEPER, ENGINE, GATEWAY, ZYGOTE, *INSTANCES])
    assert roles == {"parent": UP, "keeper": KEEPER, "engine": ENGINE, "gateway": GATEWAY, "zygote 1": ZYGOTE}


def test_each_runtime_has_a_zygote_of_its_own() -> None:
    roles = permanent([UP, KEEPER, ZYGOTE, OTHER_ZYGOTE, *INSTANCES])
    assert [role for role in roles if role.startswith("zygote")] == ["zygote 1", "zygote 2"]


def test_nothing_runs() -> None:
    assert permanent([]) == {}
