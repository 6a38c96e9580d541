"""Prometheus' rules and Grafana's dashboard ask for metrics that Ray has."""

from __future__ import annotations

import json
import re
from pathlib import Path

import ray
import yaml

from tests.cluster.manifests import ROOT, cluster_specs, groups, ray_container

METRICS = ROOT / "cluster" / "metrics"


def _expressions() -> list[str]:
    dashboard = json.loads((METRICS / "grafana-dashboard.json").read_text())
    rules = yaml.safe_load((METRICS / "alerts.yaml").read_text())["groups"][0]["rules"]
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return asked + [rule["expr"] for rule in rules]


def test_every_metric_is_one_that_ray_shows_itself() -> None:
    panels = Path(ray.__file__).parent / "dashboard/modules/metrics/dashboards"
    source = "".join(path.read_text() for path in panels.glob("*_panels.py"))
    known = set(re.findall(r"\b(?:ray|autoscaler)_\w+", source))
    asked = {m for e in _expressions() for m in re.findall(r"\b(?:ray|autoscaler)_\w+", e)}
    assert len(asked) > 15
    assert asked <= known


def test_panels_are_whole_and_rules_tell_a_remedy() -> None:
    dashboard = json.loads((METRICS / "grafana-dashboard.json").read_text())
    places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
    assert len(set(places)) == len(places)
    for expression in _expressions():
        assert expression.count("(") == expression.count(")")
    prometheus = yaml.safe_load((METRICS / "prometheus.yaml").read_text())
    (rules,) = prometheus["rule_files"]
    for rule in yaml.safe_load((METRICS / rules).read_text())["groups"][0]["rules"]:
        assert {"summary", "remedy"} <= set(rule["annotations"])


def test_prometheus_keeps_ports_that_the_pods_have() -> None:
    prometheus = yaml.safe_load((METRICS / "prometheus.yaml").read_text())
    (pods,) = [job for job in prometheus["scrape_configs"] if "kubernetes_sd_configs" in job]
    kept = [rule["regex"] for rule in pods["relabel_configs"] if "port_name" in str(rule)]
    for spec in cluster_specs().values():
        for name, group in groups(spec).items():
            ports = {port["name"] for port in ray_container(group)["ports"]}
            wanted = {"metrics", "as-metrics"} if name == "head" else {"metrics"}
            assert {port for port in ports if re.fullmatch(kept[0], port)} == wanted
