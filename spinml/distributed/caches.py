"""Erasing artifacts from the cache of every node."""

from __future__ import annotations

from collections.abc import Sequence

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from spinml.errors import ArtifactError
from spinml.pipeline.cache import NodeCache
from spinml.pipeline.scratch import sweep
from spinml.pipeline.stages import ArtifactKey

TIMEOUT_S = 60.0


def evict_everywhere(keys: Sequence[ArtifactKey], timeout_s: float = TIMEOUT_S) -> None:
    """Forget artifacts on every node of the cluster; without one, on this machine.

    Raises:
        ArtifactError: a node did not answer; evict again.
    """
    if not ray.is_initialized():
        evict_here(keys)
        return
    task = ray.remote(num_cpus=0, max_retries=0)(evict_here)
    calls = [
        task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(list(keys))
        for node in ray.nodes()
        if node["Alive"]
    ]
    try:
        ray.get(calls, timeout=timeout_s)
    except RayError as error:
        raise ArtifactError(
            f"a node's cache of artifacts could not be erased: {type(error).__name__}",
            remedy="the dispatcher tries again; a node that is gone takes its cache with it",
        ) from None


def evict_here(keys: Sequence[ArtifactKey]) -> None:
    """Forget artifacts on this node, and what killed processes left of any."""
    cache = NodeCache()
    for key in keys:
        cache.evict(key)
    sweep()
    sweep(cache.folder)
