"""The manifests as Kubernetes would read them, and the schemas that it would hold them against."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from jsonschema import Draft202012Validator

from tests.cluster.shrink_crds import CRDS

ROOT = Path(__file__).parents[2]
KUBERAY = ROOT / "cluster" / "kuberay"
KUBERNETES = "1.33"

Manifest = dict[str, Any]


def read(*names: str) -> list[Manifest]:
    """The documents of these files below ``cluster/kuberay``."""
    return [doc for name in names for doc in yaml.safe_load_all((KUBERAY / name).read_text())]


def every_manifest() -> list[Manifest]:
    """All documents that the two kustomizations name."""
    found = []
    for folder in (KUBERAY, KUBERAY / "jobs"):
        kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
        for name in kustomization["resources"]:
            found += read(str((folder / name).relative_to(KUBERAY)))
    return found


def one(kind: str) -> Manifest:
    """The only manifest of ``kind``."""
    (manifest,) = [m for m in every_manifest() if m["kind"] == kind]
    return manifest


def cluster_specs() -> dict[str, Manifest]:
    """The RayClusterSpecs by the kind they stand in."""
    return {
        "RayService": one("RayService")["spec"]["rayClusterConfig"],
        "RayCluster": one("RayCluster")["spec"],
    }


def groups(spec: Manifest) -> dict[str, Manifest]:
    """Group name → head or worker group of a RayClusterSpec."""
    workers = {group["groupName"]: group for group in spec["workerGroupSpecs"]}
    return {"head": spec["headGroupSpec"], **workers}


def ray_container(group: Manifest) -> Manifest:
    """The container that Ray runs in: the first."""
    found: Manifest = group["template"]["spec"]["containers"][0]
    return found


def pod_specs(node: Any) -> Iterator[Manifest]:
    """Every pod spec below ``node``."""
    if isinstance(node, dict):
        if "containers" in node:
            yield node
        for value in node.values():
            yield from pod_specs(value)
    elif isinstance(node, list):
        for value in node:
            yield from pod_specs(value)


def problems(manifest: Manifest) -> list[str]:
    """What the API server would refuse: of KubeRay's kinds by their CRDs, of others by its own."""
    if not manifest["apiVersion"].startswith("ray.io/"):
        try:
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            return [error.message]
        return []
    crds = _strict_crds()
    schema = {"$defs": crds["$defs"], **crds["kinds"][manifest["kind"]]}
    errors = Draft202012Validator(schema).iter_errors(manifest["spec"])
    found = [f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in errors]
    # The CRDs hold pod templates, but not all that Kubernetes asks of them.
    for pod in pod_specs(manifest["spec"]):
        whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": pod}
        found += problems(whole)
    return found


@functools.cache
def _strict_crds() -> Manifest:
    """The shortened CRDs; unknown fields are refused, as ``kubectl apply`` does."""
    crds: Manifest = json.loads(CRDS.read_text())
    _refuse_unknown(crds)
    return crds


def _refuse_unknown(node: Any) -> None:
    if isinstance(node, dict):
        is_object = node.get("type") == "object" and "properties" in node
        if is_object and not node.get("x-kubernetes-preserve-unknown-fields"):
            node.setdefault("additionalProperties", False)
        for value in node.values():
            _refuse_unknown(value)
    elif isinstance(node, list):
        for value in node:
            _refuse_unknown(value)
