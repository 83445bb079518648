"""Zygotes of layers: a function's next version, with the same dependencies, finds them imported."""

import os
import shutil
from typing import Any

import msgspec
import pytest

from corral.model import Revision, RevisionId

from .stage import Stage
from .test_kept import groups, kill_zygotes, on_t1

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="T1 needs root")

DEPENDENCY = "import os, time\ntime.sleep(0.05)\nLOADED_BY = os.getpid()\nNAME = 'dep'\n"
CODE = """
import os
try:
    import dep.part as part
finally:
    LOADED_BY = os.getpid()
def main(args):
    import late
    return {"dep": part.LOADED_BY, "own": LOADED_BY, "late": late.LOADED_BY, "version": VERSION}
VERSION = 1
"""
"""Pid 1: imported by the instance itself; 2: by a zygote."""


def deployed(made: Stage, code: str = CODE) -> Revision:
    """With a layer."""
    layer = made.data / "layers/default/abc"
    (layer / "dep").mkdir(parents=True)
    (layer / "dep/__init__.py").write_text("")
    for file in ("dep/part.py", "late.py"):
        (layer / file).write_text(DEPENDENCY)
    return msgspec.structs.replace(made.deploy(code), layer="abc")


def next_version(made: Stage, before: Revision, code: str, **changes: object) -> Revision:
    """Another package, of the same function."""
    number = before.number + 1
    package = made.deploy(code).package
    named = RevisionId(f"{before.key}@{number}")
    return msgspec.structs.replace(before, id=named, number=number, package=package, **changes)


async def keep(made: Stage, revision: Revision) -> None:
    await made.warmed()
    made.keep(revision)
    await made.until(lambda: revision.id in made.keeping or revision.id in made.gone)
    assert revision.id not in made.gone, made.gone


async def answer(made: Stage, revision: Revision) -> Any:
    return await made.call(await made.start_of(revision, slot=await made.prepare(is_bare=True)))


def test_a_revision_is_loaded_by_a_zygote_that_its_layers_zygote_forked() -> None:
    async def play(made: Stage) -> None:
        revision = deployed(made)
        await keep(made, revision)
        # Its layer's part counts: a plain start has to import it too.
        assert made.load_s > 0.05
        found = await answer(made, revision)
        # What only a call imports nobody can know before.
        assert found == {"dep": 2, "own": 2, "late": 1, "version": 1}

    on_t1(play)


def test_the_next_version_finds_its_dependencies_imported_before_it_has_a_zygote() -> None:
    async def play(made: Stage) -> None:
        revision = deployed(made)
        await keep(made, revision)
        changed = next_version(made, revision, CODE.replace("VERSION = 1", "VERSION = 2"))
        assert await answer(made, changed) == {"dep": 2, "own": 1, "late": 1, "version": 2}
        await keep(made, changed)
        assert await answer(made, changed) == {"dep": 2, "own": 2, "late": 1, "version": 2}

    on_t1(play)


def test_a_version_starts_although_the_one_its_layers_zygote_was_raised_for_was_removed() -> None:
    async def play(made: Stage) -> None:
        revision = deployed(made)
        await keep(made, revision)
        changed = next_version(made, revision, CODE.replace("VERSION = 1", "VERSION = 2"))
        shutil.rmtree(made.data / "packages/default" / revision.package)
        assert await answer(made, changed) == {"dep": 2, "own": 1, "late": 1, "version": 2}
        await keep(made, changed)
        assert await answer(made, changed) == {"dep": 2, "own": 2, "late": 1, "version": 2}

    on_t1(play)


@pytest.mark.parametrize("changes", [{"uid": 100_999}, {"layer": "abd"}, {"env": {"A": "b"}}, {"name": "other"}])
def test_other_dependencies_settings_or_functions_are_imported_anew(changes: dict[str, object]) -> None:
    async def play(made: Stage) -> None:
        revision = deployed(made)
        await keep(made, revision)
        changed = next_version(made, revision, CODE)
        if "env" in changes:
            changed = msgspec.structs.replace(changed, spec=msgspec.structs.replace(changed.spec, **changes))
        elif "layer" in changes:
            (made.data / "layers/default/abc").rename(made.data / "layers/default/abd")
            changed = msgspec.structs.replace(changed, **changes)
        else:
            changed = msgspec.structs.replace(changed, **changes)
        assert (await answer(made, changed))["dep"] == 1

    on_t1(play)


def test_a_module_of_the_code_stands_before_an_imported_dependency() -> None:
    async def play(made: Stage) -> None:
        revision = deployed(made)
        await keep(made, revision)
        changed = next_version(made, revision, "import dep\ndef main(args):\n    return [dep.__file__]\n")
        own = made.data / "packages/default" / changed.package / "dep.py"
        own.write_text("")
        assert await answer(made, changed) == ["/function/dep.py"]

    on_t1(play)


def test_the_layers_zygote_stays_for_the_next_version_and_leaves_with_the_last() -> None:
    async def play(made: Stage) -> None:
        revision = deployed(made)
        await keep(made, revision)
        changed = next_version(made, revision, CODE)
        await keep(made, changed)
        made.sandbox.drop(revision.id)
        await made.until(lambda: revision.id in made.gone)
        third = next_version(made, changed, CODE)
        instance = await made.start_of(third)
        assert (await made.call(instance))["dep"] == 2
        made.sandbox.drop(changed.id)
        await made.until(lambda: changed.id in made.gone)
        assert (await answer(made, next_version(made, third, CODE)))["dep"] == 1
        assert (await made.call(instance))["dep"] == 2
        for each in list(made.pids):
            await made.stop(each)
        await made.until(lambda: not [group for group in groups(made) if group.name.startswith("zygote")])

    on_t1(play)


def test_a_killed_layers_zygote_costs_plain_starts_only() -> None:
    async def play(made: Stage) -> None:
        revision = deployed(made)
        await keep(made, revision)
        instance = await made.start_of(revision)
        assert (await made.call(instance))["own"] == 2
        kill_zygotes(made, revision, of_layer=True)
        await made.until(lambda: made.sandbox._keeping.layer_of(revision) is None)  # type: ignore[attr-defined]
        assert (await made.call(instance))["own"] == 2
        # The revision's own is another process, and there still.
        assert (await answer(made, revision))["own"] == 2
        assert (await answer(made, next_version(made, revision, CODE)))["dep"] == 1

    on_t1(play)


def test_code_in_a_zygote_of_a_layers_zygote_cannot_write_its_package() -> None:
    code = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
RESULT = libc.syscall(165, None, b"/function", None, 0x20 | 0x1000, None), ctypes.get_errno(), os.getpid()
def main(args): return RESULT
"""

    async def play(made: Stage) -> None:
        revision = deployed(made, code)
        await keep(made, revision)
        assert await answer(made, revision) == [-1, 1, 2]

    on_t1(play)
