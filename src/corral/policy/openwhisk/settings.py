"""What users may set of OpenWhisk's rules: limits of an action and its namespace, and what operators configure of the
invoker's container proxy and of the newer scheduler. Names and defaults are OpenWhisk's, with units added."""

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta

from corral.policy.settings import Settings

OF_FPC = ("keeping", "keeping_s", "check_interval_s", "stale_threshold_s", "over_provision", "over_provision_ratio")
"""What the classic scheduler has not."""


class OpenWhiskSettings(Settings, frozen=True, kw_only=True):
    scheduler: Literal["classic", "fpc"] = "classic"
    """`classic`: a container at once for each activation that finds none free. `fpc`: OpenWhisk 2.0's scheduler."""
    concurrency: Annotated[int, Meta(ge=1, le=1000)] = 1
    """Activations at once in one container; not more than the function's own `concurrency`."""
    pause_grace_s: Annotated[float, Meta(ge=0, le=3600)] = 10.0
    """Seconds a container stays ready without an activation before it would be paused."""
    idle_container_s: Annotated[float, Meta(ge=0.1, le=86_400)] = 600.0
    """Seconds it stays paused before it is removed. Nothing is paused here: both times add."""
    namespace_limit: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    """Containers of all actions of the namespace together; not set: any number."""
    keeping: Annotated[int, Meta(ge=0, le=1000)] = 0
    """fpc: containers that stay for `keeping_s` more when they would be removed."""
    keeping_s: Annotated[float, Meta(ge=0, le=86_400)] = 600.0
    """fpc: seconds."""
    check_interval_s: Annotated[float, Meta(ge=0.01, le=60)] = 0.1
    """fpc: seconds between two decisions about a queue that has messages."""
    stale_threshold_s: Annotated[float, Meta(ge=0.01, le=60)] = 0.1
    """fpc: seconds after which a waiting message is stale; what a container can do is reckoned for as long."""
    over_provision: bool = False
    """fpc: an action without a container may have one above `namespace_limit`."""
    over_provision_ratio: Annotated[float, Meta(ge=1, le=100)] = 1.5
    """fpc: times `namespace_limit`, up to which that is so."""

    def conflicts(self, least: int, most: int) -> Iterator[str]:
        if self.namespace_limit is not None and self.namespace_limit < least:
            yield f"namespace_limit = {self.namespace_limit}, must not be below min = {least}"
        if self.scheduler == "classic":
            for name, value in self.said(OF_FPC):
                yield f"{name} = {value}, only counts with scheduler = fpc, which must be said too"

    @property
    def idle_s(self) -> float:
        return self.pause_grace_s + self.idle_container_s
