"""What the instances of a revision use together, out of what the keeper says of each: for rules that go by it."""

from collections.abc import Mapping

from corral.model import InstanceId
from corral.policy import Usage
from corral.roster.deployment import Deployment, State
from corral.roster.instances import Instances


def usage_by_revision(
    instances: Instances, measured: Mapping[InstanceId, tuple[float, float]], now: float
) -> list[tuple[Deployment, Usage]]:
    """Of revisions whose rule goes by usage. `measured`: instance -> (cpu seconds in all, MiB now).

    Only ready instances count, each with the cpu time between its last two measurements: what loading takes says
    nothing of calls, and one that ended takes its seconds with it instead of leaving a gap in a sum."""
    sums: dict[Deployment, tuple[int, float, float]] = {}
    for instance, (cpu_s, memory_mib) in measured.items():
        found = instances.get(instance)
        if found is None:
            continue
        cores = found.read_cpu(cpu_s, now)
        known = found.revision
        if cores is None or found.state is not State.READY or not known.scaling.settings.needs_usage:
            continue
        count, all_cores, all_mib = sums.get(known, (0, 0.0, 0.0))
        sums[known] = count + 1, all_cores + cores, all_mib + memory_mib
    return [(known, Usage(*usage)) for known, usage in sums.items()]
