"""The public world of each task: all that the bundled checkpoint may see, nothing of it private."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from spinml.home.bottles import any_bottle_scene
from spinml.home.people import any_human_scene
from spinml.home.pets import any_pet_scene
from spinml.home.scenes import Scene, is_private
from spinml.home.tasks import task

MAX_SUB_SEEDS = 60
SAMPLERS: dict[str, Callable[[np.random.Generator, str], Scene | None]] = {
    "pet": any_pet_scene, "human": any_human_scene, "bottle": any_bottle_scene,
}  # fmt: skip
"""For each task: draws a scene of a class, or ``None`` where no camera sees the target object."""


@dataclass(frozen=True)
class PublicWorld:
    """Everything the bundled checkpoint may see of a task: any subject in any room."""

    seed: int
    task: str = "pet"

    def sample(self, index: int, sub_seed: int = 0) -> Scene:
        """Scene ``index``; ``sub_seed`` counts redraws of scenes that came out unusable."""
        labels = task(self.task).labels
        for attempt in range(MAX_SUB_SEEDS):
            rng = np.random.default_rng([self.seed, index, sub_seed, attempt])
            scene = SAMPLERS[self.task](rng, labels[index % len(labels)])
            if scene is not None and not is_private(scene):
                return scene
        raise RuntimeError(f"no public scene found for index {index} after {MAX_SUB_SEEDS} draws")

    def candidates(self, index: int) -> Iterator[Scene]:
        """Scene ``index`` and the scenes that replace it while they are not usable."""
        return (self.sample(index, sub_seed) for sub_seed in range(MAX_SUB_SEEDS))
