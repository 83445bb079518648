"""The page that Prometheus reads."""

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from .server import Server

DOCUMENT = Path(__file__).parents[2] / "docs/metrics.md"
ROW = re.compile(r"^\| `(corral_\w+)` \| (\w+) \| (.*?) \|", re.MULTILINE)
OF_HISTOGRAMS = {"le"}


def test_every_metric_is_documented_and_every_documented_one_is_there(shared: Server) -> None:
    shared.deploy("measured", "def main(args): return {}", "--initial", "0")
    assert shared.call("measured").status == 200
    page = shared.ask("GET", "/metrics").body.decode()
    there = dict(re.findall(r"^# TYPE (\w+) (\w+)$", page, re.MULTILINE))
    rows = ROW.findall(DOCUMENT.read_text())
    assert {name: kind for name, kind, _ in rows} == there
    labels = {name: set(re.findall(r"`(\w+)`", cell)) for name, _, cell in rows}
    for family in text_string_to_metric_families(page):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        for sample in family.samples:
            assert set(sample.labels) - OF_HISTOGRAMS == labels[name], name


def test_a_deployments_own_instance_is_no_cold_start(shared: Server) -> None:
    counted = 'corral_cold_starts_total{namespace="default",function="%s"} %d\n'
    shared.deploy("verified", "def main(args): return {}")
    shared.deploy("unloaded", "def main(args): return {}", "--initial", "0")
    for name in ("verified", "unloaded"):
        assert shared.call(name).status == 200
    page = shared.ask("GET", "/metrics").body.decode()
    assert counted % ("verified", 0) in page
    assert counted % ("unloaded", 1) in page
