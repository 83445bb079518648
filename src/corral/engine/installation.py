"""A deployment's dependencies: found out from its packages, and installed before its code is loaded."""

import asyncio
from collections.abc import Sequence

from corral.engine.layers import Layers
from corral.errors import CorralError, Invalid
from corral.model import FunctionSpec, Revision
from corral.ports import Needed, Packages

Fault = tuple[Revision, CorralError]


class Installation:
    def __init__(self, layers: Layers, packages: Packages, installs: str) -> None:
        """`installs`: see config.Layers."""
        self._layers, self._packages, self._installs = layers, packages, installs

    async def needs(self, namespace: str, asked: Sequence[tuple[str, str, FunctionSpec]]) -> Sequence[Needed | None]:
        """Of each (name, package, spec); None: none. Raises Invalid with every mistake."""
        found: dict[tuple[str, str], Needed | None] = {}
        needs: list[Needed | None] = []
        problems: list[str] = []
        for name, package, spec in asked:
            key = (package, spec.runtime)
            try:
                if key not in found:
                    found[key] = self._allowed(await self._packages.needed(namespace, package, spec.runtime))
                needs.append(found[key])
            except Invalid as fault:
                problems += [f"functions.{name}: {each}" if len(asked) > 1 else each for each in fault.problems]
        if problems:
            raise Invalid(*problems)
        return needs

    def _allowed(self, needed: Needed | None) -> Needed | None:
        if needed is None or self._installs not in ("none", "wheels"):
            return needed
        if self._installs == "none":
            raise Invalid(
                f"{needed.source} names {_counted(needed.count)}, must be empty: layers.install = none, so this "
                "server installs nothing; put the packages into the function's folder"
            )
        if not needed.is_plain:
            raise Invalid(
                f"{needed.source} names an address, a path or an option, must hold names and versions alone: "
                "layers.install = wheels, so this server installs what its index has and builds nothing; left at auto "
                "it is so where the index or a proxy needs a password"
            )
        return needed

    async def install(self, revisions: Sequence[Revision], needs: Sequence[Needed | None]) -> Sequence[Fault]:
        """What went wrong with each; empty: all layers are on disk."""
        faults: list[Fault] = []

        async def install(revision: Revision, needed: Needed) -> None:
            try:
                await self._layers.install(revision, needed)
            except CorralError as fault:
                faults.append((revision, fault))

        async with asyncio.TaskGroup() as group:
            for revision, needed in zip(revisions, needs, strict=True):
                if needed is not None:
                    group.create_task(install(revision, needed), name=f"install {revision.id}")
        return faults


def _counted(requirements: int) -> str:
    return "1 requirement" if requirements == 1 else f"{requirements} requirements"
