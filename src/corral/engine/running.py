"""The instances that run, as the engine finds them: in which slot, and who holds them."""

from collections.abc import Collection, Iterator

from corral.model import GatewayId, InstanceId, RevisionId


class Running:
    """An instance, from its Start until everything of it is gone."""

    __slots__ = ("address", "gateway", "has_failed", "is_ready", "revision")

    def __init__(self, revision: RevisionId, address: str | None, is_ready: bool) -> None:
        self.revision = revision
        self.address = address
        """None: in no prepared slot, and not forked yet."""
        self.gateway: GatewayId | None = None
        self.is_ready = is_ready
        self.has_failed = False


class Instances:
    """All that run, by instance and by revision."""

    def __init__(self) -> None:
        self._by_id: dict[InstanceId, Running] = {}
        self._by_revision: dict[RevisionId, dict[InstanceId, None]] = {}
        """In the order of their starts."""

    def __contains__(self, instance: InstanceId) -> bool:
        return instance in self._by_id

    def __iter__(self) -> Iterator[InstanceId]:
        return iter(self._by_id)

    def get(self, instance: InstanceId) -> Running | None:
        return self._by_id.get(instance)

    def of(self, revision: RevisionId) -> Collection[InstanceId]:
        return self._by_revision.get(revision, {})

    def __len__(self) -> int:
        return len(self._by_id)

    def revisions(self) -> Collection[RevisionId]:
        """Those that have any."""
        return self._by_revision.keys()

    def add(self, instance: InstanceId, running: Running) -> None:
        self._by_id[instance] = running
        self._by_revision.setdefault(running.revision, {})[instance] = None

    def adopt(self, instance: InstanceId, revision: RevisionId) -> Running:
        """One that somebody says he has. Whether it is ready is not known; it is taken for it."""
        running = self._by_id.get(instance)
        if running is None:
            running = Running(revision, None, is_ready=True)
            self.add(instance, running)
        return running

    def remove(self, instance: InstanceId) -> Running | None:
        """None: it was not here."""
        running = self._by_id.pop(instance, None)
        if running is not None:
            others = self._by_revision[running.revision]
            del others[instance]
            if not others:
                del self._by_revision[running.revision]
        return running
