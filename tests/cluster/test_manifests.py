"""The manifests against the schemas, against each other, and against Ray's and our own code."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.credentials import EnvProvider
from huggingface_hub import constants as hub_constants
from ray._private.authentication import authentication_token_setup
from ray._private.ray_constants import DEFAULT_DASHBOARD_AGENT_LISTEN_PORT, DEFAULT_DASHBOARD_PORT
from ray.autoscaler._private.constants import AUTOSCALER_METRIC_PORT
from ray.autoscaler._private.kuberay.autoscaling_config import (
    _derive_autoscaling_config_from_ray_cr,
)
from ray.dashboard import http_server_agent, http_server_head
from ray.train.v2._internal import constants as train_constants

from spinml.distributed.cluster import QUIET
from spinml.pipeline.cache import CACHE_ENV
from spinml.service import health_routes
from tests.cluster.manifests import (
    KUBERAY,
    Manifest,
    cluster_specs,
    every_manifest,
    groups,
    one,
    pod_specs,
    problems,
    ray_container,
    read,
)

SECRETS = {  # what README says to create
    "spinml-job-keys": {"anna"},  # one entry a tenant, as its own example
    "spinml-ray-token": {"auth_token"},
    "spinml-redis": {"password"},
    "spinml-s3": {"access_key_id", "secret_access_key"},
    "spinml-database": {"url"},
}


def named(manifest: Manifest) -> str:
    return f"{manifest['kind']}-{manifest['metadata']['name']}"


@pytest.mark.parametrize("manifest", every_manifest(), ids=named)
def test_kubernetes_would_take_it(manifest: Manifest) -> None:
    assert problems(manifest) == []
    if manifest["kind"] != "Namespace":
        assert manifest["metadata"]["namespace"] == one("Namespace")["metadata"]["name"]


@pytest.mark.parametrize(
    ("kind", "path", "value", "told"),
    [
        ("RayService", "spec.rayClusterConfig.enableAutoscaling", True, "enableAutoscaling"),
        ("RayService", "spec.rayClusterConfig.autoscalerOptions.version", "v3", "v3"),
        ("RayCluster", "spec.headGroupSpec.template", {"spec": {"containers": [{}]}}, "name"),
        ("RayJob", "spec.backoffLimit", "twice", "twice"),
        ("StatefulSet", "spec.replica", 1, "replica"),
    ],
)
def test_the_schemas_refuse(kind: str, path: str, value: Any, told: str) -> None:
    manifest = copy.deepcopy(one(kind))
    node = manifest
    *above, last = path.split(".")
    for name in above:
        node = node[name]
    node[last] = value
    assert any(told in problem for problem in problems(manifest))


def test_every_file_is_deployed() -> None:
    named = {"server.yaml"}
    for folder in (KUBERAY, KUBERAY / "jobs"):
        listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
        here = str(folder.relative_to(KUBERAY))
        named |= {str(Path(here) / name) for name in [*listed, "kustomization.yaml"]}
    assert {str(path.relative_to(KUBERAY)) for path in KUBERAY.rglob("*.yaml")} == named


def test_the_jobs_cluster_is_the_services_without_the_service() -> None:
    service, jobs = (copy.deepcopy(spec) for spec in cluster_specs().values())
    (pinned,) = [g for g in service["workerGroupSpecs"] if g["groupName"] == "service"]
    service["workerGroupSpecs"].remove(pinned)
    head = jobs["headGroupSpec"]
    ray_container(head)["volumeMounts"].remove(
        {"name": "keys", "mountPath": "/run/spinml-keys", "readOnly": True}
    )
    keys = {"secretName": "spinml-job-keys", "optional": True}
    head["template"]["spec"]["volumes"].remove({"name": "keys", "secret": keys})
    for spec in (service, jobs):
        for group in groups(spec).values():
            container = ray_container(group)
            container["ports"] = [p for p in container["ports"] if p["name"] != "serve"]
        for group in spec["workerGroupSpecs"]:
            del ray_container(group)["readinessProbe"]
    assert service == jobs


@pytest.mark.parametrize("spec", cluster_specs().values(), ids=cluster_specs())
def test_the_autoscaler_takes_gpu_nodes_from_none_to_many(spec: Manifest) -> None:
    cluster = {"metadata": {"name": "spinml", "namespace": "spinml"}, "spec": spec}
    config = _derive_autoscaling_config_from_ray_cr(cluster)  # as the autoscaler's container does
    types = config["available_node_types"]
    assert types["gpu"]["min_workers"] == 0
    assert types["gpu"]["max_workers"] == 8
    assert types["gpu"]["resources"]["GPU"] == 1
    assert types["headgroup"]["resources"]["CPU"] == 0
    assert spec["enableInTreeAutoscaling"]
    restarts = {group["template"]["spec"]["restartPolicy"] for group in groups(spec).values()}
    assert restarts == {"Never"}  # autoscaler v2 asks for it


@pytest.mark.parametrize("spec", cluster_specs().values(), ids=cluster_specs())
def test_ray_asks_for_its_token_and_outlives_its_head(spec: Manifest) -> None:
    assert spec["authOptions"] == {"mode": "token", "secretName": "spinml-ray-token"}
    assert authentication_token_setup.AUTH_MODE_ENV_VAR == "RAY_AUTH_MODE"  # set by the operator
    redis = one("StatefulSet")
    service = next(m for m in read("redis-service.yaml"))
    port = service["spec"]["ports"][0]["port"]
    fault_tolerance = spec["gcsFaultToleranceOptions"]
    assert fault_tolerance["redisAddress"] == f"{service['metadata']['name']}:{port}"
    assert service["spec"]["selector"] == redis["spec"]["template"]["metadata"]["labels"]
    own = ray_container({"template": redis["spec"]["template"]})["env"][0]["valueFrom"]
    assert fault_tolerance["redisPassword"]["valueFrom"] == own


def test_probes_point_at_what_answers_without_a_key() -> None:
    source = Path(http_server_head.__file__).read_text()
    public = source[source.index("public_exact_paths = {") :].partition("}")[0]
    answering = {
        8000: {getattr(route, "path", "") for route in health_routes.router.routes},
        DEFAULT_DASHBOARD_PORT: set(re.findall(r'"(/.*?)",', public)),
        DEFAULT_DASHBOARD_AGENT_LISTEN_PORT: set(http_server_agent.PUBLIC_EXACT_PATHS),
    }
    probed = set()
    for spec in cluster_specs().values():
        for group in groups(spec).values():
            for kind in ("readinessProbe", "livenessProbe"):
                get = ray_container(group)[kind]["httpGet"]
                assert get["path"] in answering[get["port"]]
                probed.add((kind, get["path"]))
    assert ("readinessProbe", "/readyz") in probed
    assert "/readyz" not in {path for kind, path in probed if kind == "livenessProbe"}


def test_every_environment_variable_is_read_by_somebody() -> None:
    read_by_code = {
        EnvProvider.ACCESS_KEY,
        EnvProvider.SECRET_KEY,
        CACHE_ENV,
        train_constants.WORKER_GROUP_START_TIMEOUT_S_ENV_VAR,
        *QUIET,
    }
    assert hub_constants.HF_HOME  # huggingface_hub makes it of the variable of that name
    client = (KUBERAY.parents[1] / "spinml/pipeline/s3.py").read_text()
    assert re.search(r'environ.get\("AWS_REGION"\)', client)
    for spec in cluster_specs().values():
        for group in groups(spec).values():
            names = {env["name"] for env in ray_container(group)["env"]}
            assert names - {"HF_HOME", "AWS_REGION"} <= read_by_code
            assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= names


def test_s3_reads_the_credentials_that_the_secret_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    for env in ray_container(groups(one("RayCluster")["spec"])["gpu"])["env"]:
        value = env.get("value") or env["valueFrom"]["secretKeyRef"]["key"]
        monkeypatch.setenv(env["name"], value)
    found = boto3.Session().get_credentials()
    assert found is not None
    assert (found.access_key, found.secret_key) == ("access_key_id", "secret_access_key")


def test_secrets_are_those_that_the_readme_creates() -> None:
    used: dict[str, set[str]] = {"spinml-ray-token": {"auth_token"}}  # KubeRay's own key
    for manifest in every_manifest():
        for name, key in re.findall(
            r"\"secretKeyRef\": {\"name\": \"([^\"]+)\", \"key\": \"([^\"]+)\"",
            json.dumps(manifest),
        ):
            used.setdefault(name, set()).add(key)
        for pod in pod_specs(manifest):
            for volume in pod.get("volumes", []):
                if "secret" in volume:
                    secret = volume["secret"]["secretName"]
                    used.setdefault(secret, set()).update(SECRETS[secret])
    assert used == SECRETS
    readme = (KUBERAY.parent / "README.md").read_text().replace("\\\n", " ")
    for name, keys in SECRETS.items():
        (command,) = re.findall(rf"create secret generic {name} (.*)", readme)
        assert set(re.findall(r"--from-(?:literal|file)=(\w+)=", command)) == keys


def test_the_database_is_known_to_the_service_alone() -> None:
    for kind, spec in cluster_specs().items():
        for name, group in groups(spec).items():
            volumes = group["template"]["spec"]["volumes"]
            secrets = [v["secret"]["secretName"] for v in volumes if "secret" in v]
            mounted = {("RayService", "service"): ["spinml-database"]}
            mounted["RayCluster", "head"] = ["spinml-job-keys"]  # where jobs' drivers start
            assert secrets == mounted.get((kind, name), [])


def test_no_container_is_root_or_unbounded() -> None:
    for manifest in every_manifest():
        for pod in pod_specs(manifest):
            assert pod["securityContext"]["runAsNonRoot"]
            assert pod["securityContext"]["runAsUser"] > 0
            for container in pod["containers"]:
                assert container["securityContext"]["allowPrivilegeEscalation"] is False
                assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
                assert {"cpu", "memory"} <= set(container["resources"]["requests"])
                assert "memory" in container["resources"]["limits"]
                assert re.fullmatch(r"[a-z/]+:\d[\w.-]*", container["image"])


def test_a_job_on_a_shared_cluster_is_not_retried_with_a_new_one() -> None:
    assert not {"clusterSelector", "backoffLimit"} <= set(one("RayJob")["spec"])


def budgets_of_head(cluster: str) -> list[tuple[str, int]]:
    """Name and ``minAvailable`` of the budgets that select the head of ``cluster``."""
    labels = {"app.kubernetes.io/part-of": "spinml"}
    labels |= {"ray.io/node-type": "head", "ray.io/cluster": cluster}  # the operator's own
    found = []
    for budget in (m for m in every_manifest() if m["kind"] == "PodDisruptionBudget"):
        selector = budget["spec"]["selector"]
        rules = selector.get("matchExpressions", [])
        assert {rule["operator"] for rule in rules} <= {"NotIn"}
        left_out = any(labels[rule["key"]] in rule["values"] for rule in rules)
        if selector["matchLabels"].items() <= labels.items() and not left_out:
            found.append((budget["metadata"]["name"], budget["spec"]["minAvailable"]))
    return found


def test_each_head_has_a_budget_of_its_own() -> None:
    jobs = one("RayCluster")["metadata"]["name"]
    assert budgets_of_head(jobs) == [("spinml-jobs-head", 1)]
    assert budgets_of_head("spinml-x7k2p") == [("spinml-head", 1)]  # as a RayService names its own


def test_policies_and_budgets_select_the_pods() -> None:
    policies = {m["metadata"]["name"]: m["spec"] for m in read("network-policy.yaml")}
    budgets = {m["metadata"]["name"]: m["spec"] for m in read("pod-disruption-budget.yaml")}
    part = {"app.kubernetes.io/part-of": "spinml"}
    assert policies["spinml-ray"]["podSelector"]["matchLabels"] == part
    assert policies["spinml-ray"]["policyTypes"] == ["Ingress", "Egress"]
    ports = {p["port"] for rule in policies["spinml-ray"]["ingress"] for p in rule.get("ports", [])}
    assert ports == {8000, 8080, DEFAULT_DASHBOARD_PORT, AUTOSCALER_METRIC_PORT}
    submitter = one("RayJob")["spec"]["submitterPodTemplate"]["metadata"]["labels"]
    assert part.items() <= submitter.items()
    for spec in cluster_specs().values():
        for group in groups(spec).values():
            assert part.items() <= group["template"]["metadata"]["labels"].items()
    service = groups(cluster_specs()["RayService"])["service"]
    selected = budgets["spinml-service"]["selector"]["matchLabels"]
    assert selected == service["template"]["metadata"]["labels"]
    assert budgets["spinml-service"]["minAvailable"] < service["minReplicas"]
