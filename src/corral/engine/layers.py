"""Which layers revisions need, and their installation by the keeper, who alone has them."""

import asyncio
from collections import Counter

from corral import link
from corral.engine.links import Links
from corral.errors import BuildFailed, Unavailable
from corral.model import Revision, RevisionId
from corral.ports import Needed

WAIT_MAX_S = 580.0
"""For an installation and those before it: then whoever asked for the deployment gave up as well."""


class Layers:
    def __init__(self, links: Links) -> None:
        self._links = links
        self._holds: Counter[tuple[str, str]] = Counter()
        self._waiting: dict[RevisionId, asyncio.Future[link.Built]] = {}

    def hold(self, revision: Revision) -> None:
        """It needs its layer from now on, if it has one."""
        if revision.layer is not None:
            self._holds[revision.namespace, revision.layer] += 1

    def drop(self, revision: Revision) -> None:
        """Once for each `hold`. What nobody needs is removed."""
        if revision.layer is None:
            return
        key = (revision.namespace, revision.layer)
        self._holds[key] -= 1
        if self._holds[key] == 0:
            del self._holds[key]
            self._links.tell_keeper(link.LayerDrop(*key))

    async def install(self, revision: Revision, needed: Needed) -> None:
        """Returns when its layer is on disk; at once when it is there already. Raises BuildFailed, or Unavailable when
        the keeper is away or goes."""
        if self._links.keeper is None:
            raise Unavailable("the keeper is away, so the dependencies could not be installed")
        done = self._waiting[revision.id] = asyncio.get_running_loop().create_future()
        written = needed.written
        build = link.Build(revision, needed.source)
        if written is not None:
            build = link.Build(revision, needed.source, written.requirements, written.constraints)
        self._links.tell_keeper(build)
        try:
            async with asyncio.timeout(WAIT_MAX_S):
                built = await done
        except TimeoutError as exc:
            raise Unavailable(f"the dependencies were not installed within {WAIT_MAX_S:g} s: deploy again") from exc
        finally:
            del self._waiting[revision.id]
            if not done.done() or done.cancelled():
                self._links.tell_keeper(link.BuildDrop(revision.id))
        if built.error:
            raise BuildFailed(
                f"the dependencies of {needed.source} could not be installed: {built.error}", output=built.output
            )

    # -- what the keeper says -------------------------------------------------------------------------------

    def keeper_up(self) -> None:
        kept: dict[str, list[str]] = {}
        for namespace, layer in self._holds:
            kept.setdefault(namespace, []).append(layer)
        self._links.tell_keeper(link.LayersKept(kept))

    def keeper_down(self) -> None:
        for done in self._waiting.values():
            if not done.done():
                done.set_exception(
                    Unavailable(
                        "the keeper ended while it installed the dependencies: nothing is left of them, deploy again"
                    )
                )

    def built(self, message: link.Built) -> None:
        done = self._waiting.get(message.revision)
        if done is not None and not done.done():
            done.set_result(message)
