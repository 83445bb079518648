"""The rows, in the order they are measured and printed. A new promise is one line here."""

from corral.bench.cold import measure_cold, measure_sustained
from corral.bench.contest import Measure
from corral.bench.crowd import measure_crowd
from corral.bench.decide import measure_decide
from corral.bench.deploys import measure_deploy
from corral.bench.latency import measure_latency
from corral.bench.many import measure_many
from corral.bench.memory import measure_memory
from corral.bench.neighbour import measure_neighbour
from corral.bench.reload import measure_reload
from corral.bench.rules import measure_rules
from corral.bench.step import measure_step
from corral.bench.update import measure_update
from corral.bench.warm import measure_warm
from corral.bench.zygotes import measure_cold_zygote, measure_imports

ROWS: dict[str, Measure] = {
    "memory": measure_memory,
    "latency": measure_latency,
    "warm": measure_warm,
    "step": measure_step,
    "step-rules": measure_rules,
    "decide": measure_decide,
    "cold": measure_cold,
    "sustained": measure_sustained,
    "cold-zygote": measure_cold_zygote,
    "imports": measure_imports,
    "deploy": measure_deploy,
    "reload": measure_reload,
    "update": measure_update,
    "functions": measure_many,
    "crowd": measure_crowd,
    "neighbour": measure_neighbour,
}
