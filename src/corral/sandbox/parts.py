"""What of an instance or a zygote belongs to its function: its code, its log and its plan, as descriptors."""

import math
import os
from collections.abc import Mapping
from typing import Any

import msgspec

from corral.ports import Keep, Launch
from corral.sandbox import syscalls
from corral.sandbox.running import Running
from corral.sandbox.slots import Slot, close_all
from corral.sandbox.tier import Tier

LAYERS_PACKAGE = "/base"
"""Where the zygote of a layer sees the package it was raised for, which it outlives: not where its children mount
theirs, for a folder that is removed takes along what is mounted over it, and nothing can be mounted there any more."""
FILES_MAX = 1024
"""Descriptors an instance may open."""


class Parts:
    """Each answer is the caller's. All raise OSError."""

    def __init__(self, tier: Tier) -> None:
        self._tier = tier

    def of(self, running: Running) -> dict[str, int]:
        """For an instance."""
        launch = running.launch
        plan = self._plan(launch, running.slot) | {"want_code": launch.code is None, "stamps": launch.stamps}
        return self._code(launch, plan)

    def _code(self, launch: Launch | Keep, plan: Mapping[str, Any]) -> dict[str, int]:
        fds = self._tier.open_package(launch.package)
        try:
            if launch.layer is not None:
                fds |= self._tier.open_layer(launch.layer)
            fds["log"] = os.dup(launch.log_fd)
            if launch.code is not None:
                fds["code"] = syscalls.sealed_file("code", launch.code)
            fds["plan"] = syscalls.sealed_file("plan", msgspec.json.encode(plan))
        except OSError:
            close_all(fds)
            raise
        return fds

    def of_kept(self, keep: Keep, slot: Slot, is_layer: bool) -> dict[str, int]:
        """For a zygote of the function, or of its layer."""
        plan = self._plan(keep, slot)
        if is_layer:
            plan |= {"is_layer": True, "package": LAYERS_PACKAGE}
        fds = self._tier.open_tmp()
        try:
            return fds | self._code(keep, plan)
        except OSError:
            close_all(fds)
            raise

    def _plan(self, launch: Launch | Keep, slot: Slot) -> dict[str, Any]:
        revision, spec = launch.revision, launch.revision.spec
        user = self._tier.user_of(revision)
        memory_bytes = spec.memory_mib * 1024 * 1024
        return {
            "uid": user,
            "gid": user,
            "hostname": revision.name,
            "memory_bytes": memory_bytes,
            "nofile": FILES_MAX,
            "data_limit": None if slot.group.is_limiting else memory_bytes,
            "package": self._tier.package_path(launch.package),
            "layer": None if launch.layer is None else self._tier.layer_path(launch.layer),
            "handler": spec.handler,
            "style": spec.style or revision.style,
            "concurrency": spec.concurrency,
            "env": spec.env,
            "function": revision.name,
            "namespace": revision.namespace,
            "memory_mib": spec.memory_mib,
            "timeout_s": spec.timeout_s,
            "cores": math.ceil(spec.cpu),
        }
