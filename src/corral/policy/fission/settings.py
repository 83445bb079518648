"""What users may set of Fission's executors. Each key is the field of its Function or Environment that means the same;
defaults are those of its command line."""

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta

from corral.errors import Invalid
from corral.policy.fission.windows import read_windows
from corral.policy.settings import Settings

PROVISIONED_MOST = 20
"""Of one function."""
OF_POOLMGR = ("pool_size", "requests_per_pod", "once_only", "retain_pods", "pending_max", "provisioned", "windows")
OF_NEWDEPLOY = ("target_cpu_percent",)
"""What the other executor has not."""


class FissionSettings(Settings, frozen=True, kw_only=True):
    executor: Literal["poolmgr", "newdeploy"] = "poolmgr"
    """`poolmgr` takes instances from a pool as calls need them; `newdeploy` sizes a deployment by its cpu."""
    pool_size: Annotated[int, Meta(ge=0, le=100)] = 3
    """Instances of each runtime kept ready for whichever function needs one (poolmgr)."""
    requests_per_pod: Annotated[int, Meta(ge=1, le=1000)] = 1
    """Calls at once in an instance, and not more than its own `concurrency` (poolmgr)."""
    once_only: bool = False
    """An instance takes one call and ends (poolmgr)."""
    retain_pods: Annotated[int, Meta(ge=0, le=1000)] = 0
    """Instances that stay though they are idle, once they are there (poolmgr)."""
    idle_timeout_s: Annotated[float, Meta(ge=1, le=86_400)] = 120.0
    """Seconds an instance stays without a call."""
    pending_max: Annotated[int, Meta(ge=1, le=1000)] = 20
    """Instances that start at once for waiting calls (poolmgr)."""
    target_cpu_percent: Annotated[float, Meta(ge=1, le=100)] = 80.0
    """Of an instance's cpu: what newdeploy aims at."""
    provisioned: Annotated[int, Meta(ge=0, le=PROVISIONED_MOST)] = 0
    """Instances kept while no window is open (poolmgr)."""
    windows: str | None = None
    """When how many are kept: `0 8 * * 1-5 for 10h keep 5`, `CRON_TZ=PLACE` before it; more after `;` (poolmgr)."""

    def conflicts(self, least: int, most: int) -> Iterator[str]:
        other, names = ("poolmgr", OF_POOLMGR) if self.executor == "newdeploy" else ("newdeploy", OF_NEWDEPLOY)
        for name, _ in self.said(names):
            yield f"{name} is for executor = {other}, {self.executor} has no such thing"
        if self.once_only and self.requests_per_pod != 1:
            yield f"requests_per_pod = {self.requests_per_pod}, must be 1 with once_only"
        for name in ("retain_pods", "provisioned"):
            if getattr(self, name) > most:
                yield f"{name} = {getattr(self, name)}, must not be above max = {most}"
        try:
            windows = read_windows(self.windows)
        except Invalid as fault:
            yield from (f"windows: {problem}" for problem in fault.problems)
            return
        highest = min(most, PROVISIONED_MOST)
        for window in windows:
            if window.keep > highest:
                yield f"windows: keep {window.keep}, must be between 0 and {highest}"

    @property
    def slots(self) -> int | None:
        """Calls at once in an instance; None: as many as it takes, as nothing counts them before new-deploy's pods."""
        return self.requests_per_pod if self.executor == "poolmgr" else None

    @property
    def needs_usage(self) -> bool:
        return self.executor == "newdeploy"

    @property
    def acts_alone(self) -> bool:
        return self.executor == "poolmgr" and bool(self.provisioned or self.windows)
