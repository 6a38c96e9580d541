"""The cluster's ServerConfig: loaded as Serve loads it, and held against the nodes to come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ray._common.utils import import_attr
from ray.autoscaler._private.kuberay.autoscaling_config import (
    _derive_autoscaling_config_from_ray_cr,
)
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.serve._private.build_app import build_app
from ray.serve.schema import ServeDeploySchema

from spinml.config import load_config
from spinml.distributed.resources import Demand, cluster_capacity, demand_of
from spinml.errors import InfeasibleResourcesError
from spinml.pipeline.stages import StageKind
from spinml.service.serve import ServeArgs
from tests.cluster.manifests import (
    KUBERAY,
    ROOT,
    Manifest,
    cluster_specs,
    groups,
    one,
    ray_container,
)

CONFIG = load_config(KUBERAY / "server.yaml")
NODES = sorted((g.num_cpus, g.num_gpus, g.max_nodes) for g in CONFIG.resources.node_groups)
STAGES = [kind for kind in StageKind if kind is not StageKind.SEGMENT]


def serve_config() -> ServeDeploySchema:
    text = one("RayService")["spec"]["serveConfigV2"]
    return ServeDeploySchema.model_validate(yaml.safe_load(text))


def node_types(config: dict[str, Any]) -> list[tuple[float, float, int]]:
    """CPUs, GPUs and largest count of an autoscaling configuration's workers that run stages."""
    return sorted(
        (t["resources"]["CPU"], t["resources"].get("GPU", 0), t["max_workers"])
        for name, t in config["available_node_types"].items()
        if name != config["head_node_type"] and t["resources"]["CPU"]
    )


def test_serve_takes_its_configuration_and_builds_the_application() -> None:
    config = serve_config()
    (application,) = config.applications
    (generator,) = yaml.safe_load((KUBERAY / "kustomization.yaml").read_text())[
        "configMapGenerator"
    ]
    (file,) = generator["files"]
    for group in groups(cluster_specs()["RayService"]).values():
        (volume,) = [v for v in group["template"]["spec"]["volumes"] if "configMap" in v]
        assert volume["configMap"]["name"] == generator["name"]
        mounts = {m["name"]: m["mountPath"] for m in ray_container(group)["volumeMounts"]}
        assert application.args == {"config": f"{mounts[volume['name']]}/{file}"}

    args = ServeArgs.model_validate({**application.args, "config": KUBERAY / file})
    built = build_app(import_attr(application.import_path)(args), name=application.name)
    made = {d.name: d.ray_actor_options for d in built.deployments}
    overridden = {d.name: d.ray_actor_options for d in application.deployments}
    assert set(overridden) == set(made)
    for name, options in overridden.items():
        assert options.num_cpus == made[name]["num_cpus"] == 0
    assert config.http_options.port == CONFIG.service.port
    assert config.http_options.host == CONFIG.service.host


def test_the_replicas_fit_the_nodes_that_they_are_pinned_to() -> None:
    cluster = {"metadata": {"name": "s", "namespace": "s"}, "spec": cluster_specs()["RayService"]}
    types = _derive_autoscaling_config_from_ray_cr(cluster)["available_node_types"]
    (application,) = serve_config().applications
    for deployment in application.deployments:
        for resource, amount in deployment.ray_actor_options.resources.items():
            having = [name for name, t in types.items() if resource in t["resources"]]
            assert having == ["service"]
            assert (
                amount * (CONFIG.service.max_replicas + 1)
                <= types["service"]["resources"][resource]
            )
    assert types["service"]["resources"]["CPU"] == 0


@pytest.mark.parametrize("spec", cluster_specs().values(), ids=cluster_specs())
def test_node_groups_are_what_kuberay_may_add(spec: Manifest) -> None:
    cluster = {"metadata": {"name": "s", "namespace": "s"}, "spec": spec}
    config = _derive_autoscaling_config_from_ray_cr(cluster)
    assert node_types(config) == NODES
    for group in CONFIG.resources.node_groups:
        (memory,) = [
            t["resources"]["memory"]
            for t in config["available_node_types"].values()
            if (t["resources"]["CPU"], t["max_workers"]) == (group.num_cpus, group.max_nodes)
        ]
        assert group.memory_gb is not None
        assert group.memory_gb * 1e9 <= memory


@pytest.mark.parametrize("kind", STAGES)
def test_every_stage_fits_though_no_node_is_there(kind: StageKind) -> None:
    cluster_capacity(CONFIG.resources.node_groups).check(demand_of(kind, CONFIG), kind)


def test_a_stage_too_large_for_the_groups_is_refused() -> None:
    capacity = cluster_capacity(CONFIG.resources.node_groups)
    two = CONFIG.resources.generation.model_copy(update={"num_gpus": 2})
    with pytest.raises(InfeasibleResourcesError, match="wants an actor of 6 CPU, 2 GPU"):
        capacity.check(Demand(two), "generate")


def test_secrets_are_in_no_configuration() -> None:
    assert CONFIG.store.database_file is not None
    assert "database" not in CONFIG.store.model_fields_set
    pinned = ray_container(groups(cluster_specs()["RayService"])["service"])
    (folder,) = [m["mountPath"] for m in pinned["volumeMounts"] if m["name"] == "database"]
    assert CONFIG.store.database_file == Path(folder) / "url"


def test_rays_launcher_takes_the_cluster_of_virtual_machines() -> None:
    config = yaml.safe_load((ROOT / "cluster" / "aws.yaml").read_text())
    validate_config(prepare_config(config))
    assert node_types(config) == NODES
    memory = {t["resources"].get("memory") for t in config["available_node_types"].values()}
    assert {g.memory_gb * 1e9 for g in CONFIG.resources.node_groups if g.memory_gb} <= memory
    assert config["max_workers"] == sum(count for *_, count in NODES)
    assert config["available_node_types"]["gpu"]["min_workers"] == 0
    options = dict(o.removeprefix("--env ").split("=", 1) for o in config["docker"]["run_options"])
    assert options["RAY_AUTH_MODE"] == "token"
    assert options["RAY_AUTH_TOKEN_PATH"] in config["file_mounts"]
    assert str(CONFIG.store.database_file) in config["file_mounts"]
    assert (ROOT / config["file_mounts"]["/etc/spinml/server.yaml"]).is_file()
    with pytest.raises(Exception, match="colour"):
        validate_config(prepare_config({**config, "colour": "blue"}))


def test_the_head_on_aws_may_start_workers_that_have_a_role() -> None:
    config = yaml.safe_load((ROOT / "cluster" / "aws.yaml").read_text())
    profiles = {
        name: node["node_config"]["IamInstanceProfile"]["Name"]
        for name, node in config["available_node_types"].items()
    }
    assert profiles == {"head": "spinml-head", "cpu": "spinml-worker", "gpu": "spinml-worker"}
    readme = (ROOT / "cluster" / "README.md").read_text()
    for told in (*profiles.values(), "iam:PassRole"):
        assert f"`{told}`" in readme
