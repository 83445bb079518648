"""Row `memory`: what Corral's own processes hold, and what one more idle function costs."""

from corral.bench.contest import Contest, failures
from corral.bench.functions import distinct
from corral.bench.load import Generator, Lane
from corral.bench.processes import permanent, pss_mib, tree
from corral.bench.schedule import steady
from corral.bench.table import Figure, Row
from corral.model import FunctionSpec

PERMANENT_MIB, INSTANCE_MIB = 150.0, 2.5
INSTANCES = 100
RATE = 20.0
IDLE = FunctionSpec(initial=0, idle_s=3600)
ROLES = ("parent", "keeper", "engine", "gateway", "zygote 1")
TITLE = "Memory (PSS): Corral itself at rest; one idle instance at 100 of them"


def measure_memory(contest: Contest) -> Row:
    pid = contest.server.pid
    if pid is None:
        return Row(name="memory", title=TITLE, figures=_figures(None, None), notes=["needs a server of bench's own"])
    # Before anything was deployed: with instances, the zygote's pages would be shared and count as theirs.
    processes = tree(pid)
    roles = permanent(processes)
    at_rest = {role: pss_mib(process.pid) for role, process in roles.items()}
    sizes = {role: size for role, size in at_rest.items() if size is not None}
    stay = {process.pid for process in roles.values()}
    parked = [pss_mib(process.pid) for process in processes if process.pid not in stay]
    sizes[f"{len(parked)} parked children"] = sum(size for size in parked if size is not None)
    notes = [", ".join(f"{role} {size:.1f}" for role, size in sizes.items()) + " MiB"]
    absent = [role for role in ROLES if role not in sizes]
    if absent:
        notes.append(f"no process was seen as {', '.join(absent)}")
    idle, remarks = _idle_instance_mib(contest, pid)
    whole = sum(sizes.values()) if not absent else None
    return Row(name="memory", title=TITLE, figures=_figures(whole, idle), notes=notes + remarks)


def _figures(whole: float | None, idle: float | None) -> list[Figure]:
    return [
        Figure(name="all permanent processes", value=whole, unit="MiB", most=PERMANENT_MIB),
        Figure(name="one idle instance", value=idle, unit="MiB", most=INSTANCE_MIB),
    ]


def _idle_instance_mib(contest: Contest, pid: int) -> tuple[float | None, list[str]]:
    """Mean of the processes that run besides the permanent ones: the instances, each of which has answered one call,
    and the few parked children that wait to become the next."""
    functions = distinct("idle", INSTANCES, IDLE)
    contest.say(f"memory: {INSTANCES} idle instances")
    contest.management.deploy(functions)
    lane = Lane(contest.door(), ready=8)
    samples = Generator([lane]).run(steady([contest.call(each) for each in functions], RATE))
    lane.close()
    processes = tree(pid)
    stay = {process.pid for process in permanent(processes).values()}
    sizes = [pss_mib(process.pid) for process in processes if process.pid not in stay]
    known = [size for size in sizes if size is not None]
    if len(known) < INSTANCES:
        return None, [f"{len(known)} processes of instances could be read, must be {INSTANCES}", *failures(samples)]
    return sum(known) / len(known), [
        f"mean of {len(known)} processes: {INSTANCES} instances, each after its first call, and parked children"
    ]
