"""Prometheus' rules, Grafana's dashboard and the pages name metrics that Ray or SpinML has."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import ray
import yaml

from spinml.service.metrics import DECLARED, exported_names
from tests.cluster.manifests import ROOT, cluster_specs, groups, ray_container

METRICS = ROOT / "cluster" / "metrics"


def _expressions() -> list[str]:
    dashboard = json.loads((METRICS / "grafana-dashboard.json").read_text())
    rules = yaml.safe_load((METRICS / "alerts.yaml").read_text())["groups"][0]["rules"]
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return asked + [rule["expr"] for rule in rules]


def _asked() -> set[str]:
    return {m for e in _expressions() for m in re.findall(r"\b(?:ray|autoscaler)_\w+", e)}


def test_every_metric_of_ray_is_one_that_it_shows_itself() -> None:
    panels = Path(ray.__file__).parent / "dashboard/modules/metrics/dashboards"
    source = "".join(path.read_text() for path in panels.glob("*_panels.py"))
    known = set(re.findall(r"\b(?:ray|autoscaler)_\w+", source))
    asked = {name for name in _asked() if not name.startswith("ray_spinml_")}
    assert len(asked) > 15
    assert asked <= known


def test_every_metric_of_spinml_is_declared_and_asked_for() -> None:
    asked = {name for name in _asked() if "spinml_" in name}
    assert asked <= exported_names()
    told = {metric.info["name"] for metric in DECLARED}
    shown = {name for name in told if any(a.startswith(f"ray_{name}") for a in asked)}
    assert shown == told  # what nobody looks at need not be counted


@pytest.mark.parametrize("page", ["README.md", "cluster/README.md"])
def test_pages_name_metrics_that_are_there(page: str) -> None:
    named = re.findall(r"\b(?:ray_)?spinml_(?!\*)[a-z]\w+", (ROOT / page).read_text())
    known = exported_names() | {metric.info["name"] for metric in DECLARED}
    assert set(named) <= known
    if page == "cluster/README.md":  # the table of all of them
        assert {metric.info["name"] for metric in DECLARED} <= set(named)


def test_labels_are_bounded_and_names_have_units() -> None:
    allowed = {"tenant", "state", "kind", "reason"}
    for metric in DECLARED:
        assert set(metric.info["tag_keys"]) <= allowed
        assert metric.info["description"].endswith(".")
        assert not metric.info["name"].endswith("_total")  # Ray adds it to counters


def test_labels_asked_for_are_declared() -> None:
    labels = {f"ray_{metric.info['name']}": set(metric.info["tag_keys"]) for metric in DECLARED}
    for expression in _expressions():
        for name, matchers in re.findall(r"(ray_spinml_\w+)\{([^}]*)\}", expression):
            base = re.sub(r"_(total|bucket|count|sum)$", "", name)
            asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
            assert asked <= labels[base], expression


def test_what_the_issue_wants_is_alerted() -> None:
    rules = yaml.safe_load((METRICS / "alerts.yaml").read_text())["groups"][0]["rules"]
    by_name = {rule["alert"]: rule["expr"] for rule in rules}
    assert "spinml_oldest_queued_seconds" in by_name["RunsWaitLong"]
    assert "spinml_runs_ended_last_hour" in by_name["RunsFail"]
    assert "absent(" in by_name["NoDispatcher"]  # a dead one exports nothing
    assert "spinml_store_up" in by_name["StoreUnreachable"]


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
