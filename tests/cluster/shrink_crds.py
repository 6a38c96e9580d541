"""Makes ``crds.json`` from KubeRay's CRDs: ``python -m tests.cluster.shrink_crds FOLDER``.

Kept are the schemas of ``spec`` in ``ray.io/v1``, without descriptions; a subtree that occurs more
than once (a pod template, above all) is written once and referred to.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

CRDS = Path(__file__).parent / "crds.json"
NOTICE = (
    "Schemas of spec in ray.io/v1 from KubeRay's CRDs (github.com/ray-project/kuberay, commit "
    "feeaf72), shortened by shrink_crds.py. Copyright the KubeRay authors; Apache License 2.0."
)


def shrink(schemas: dict[str, Any]) -> dict[str, Any]:
    """``{"$defs": …, "kinds": {kind: schema}}`` of whole schemas by kind."""
    counts: Counter[str] = Counter()
    _count(schemas, counts)
    shared: dict[str, Any] = {}
    names: dict[str, str] = {}

    def share(node: Any) -> Any:
        if isinstance(node, list):
            return [share(item) for item in node]
        if not isinstance(node, dict):
            return node
        text = json.dumps(node, sort_keys=True)
        is_schema = isinstance(node.get("type"), str) or "anyOf" in node
        if not is_schema or counts[text] == 1 or len(text) <= 60:
            return {key: share(value) for key, value in node.items()}
        if text not in names:
            names[text] = f"s{len(names)}"
            shared[names[text]] = {key: share(value) for key, value in node.items()}
        return {"$ref": f"#/$defs/{names[text]}"}

    kinds = {kind: share(schema) for kind, schema in schemas.items()}
    return {"$comment": NOTICE, "$defs": shared, "kinds": kinds}


def _count(node: Any, counts: Counter[str]) -> None:
    if isinstance(node, dict):
        text = json.dumps(node, sort_keys=True)
        counts[text] += 1
        if counts[text] == 1:
            for value in node.values():
                _count(value, counts)
    elif isinstance(node, list):
        for value in node:
            _count(value, counts)


def _without_descriptions(node: Any) -> Any:
    if isinstance(node, dict):
        described = isinstance(node.get("description"), str)
        kept = {k: v for k, v in node.items() if not (described and k == "description")}
        return {key: _without_descriptions(value) for key, value in kept.items()}
    if isinstance(node, list):
        return [_without_descriptions(item) for item in node]
    return node


def main(folder: Path) -> None:
    """Read ``folder/ray.io_*.yaml``; write ``crds.json``."""
    schemas = {}
    for name in ("rayclusters", "rayjobs", "rayservices"):
        crd = yaml.safe_load((folder / f"ray.io_{name}.yaml").read_text())
        (version,) = [v for v in crd["spec"]["versions"] if v["name"] == "v1"]
        spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        schemas[crd["spec"]["names"]["kind"]] = _without_descriptions(spec)
    CRDS.write_text(json.dumps(shrink(schemas), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
