"""A private home: one subject in one room, both of kinds that the public world leaves out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from spinml.home.scenes import Camera, Room, Scene, is_private
from spinml.home.tasks import task
from spinml.home.worlds import MAX_SUB_SEEDS

STREAMS = {"reference": 4, "test": 5, "training": 6}
"""Photos of a home that never coincide: unlabelled references, labelled tests, and further scenes
for an oracle that may see them.
"""


@dataclass(frozen=True)
class PrivateHome(ABC):
    """One home, drawn from ``seed`` alone; a subclass for each task."""

    name: str
    seed: int
    task: ClassVar[str]
    reference_labels: ClassVar[tuple[str, ...]]
    """Classes of the reference photos in turn: an unequal, natural mix."""

    @property
    @abstractmethod
    def room(self) -> Room:
        """The room, the same in every photo but for what lies about."""

    @property
    @abstractmethod
    def description(self) -> str:
        """What the photos show, in words."""

    @abstractmethod
    def sample(self, label: str, stream: int, index: int, sub_seed: int = 0) -> Scene:
        """A scene of this home; it depends on the seed and on these numbers alone."""

    def scenes(self, stream: str, index: int) -> Iterator[Scene]:
        """Scene ``index`` of one of :data:`STREAMS` and those that replace it while unusable."""
        classes = self.reference_labels if stream == "reference" else task(self.task).labels
        label = classes[index % len(classes)]
        for sub_seed in range(MAX_SUB_SEEDS):
            scene = self.sample(label, STREAMS[stream], index, sub_seed)
            if not is_private(scene):
                raise RuntimeError(f"home {self.name!r} is not among what is kept private")
            yield scene


def nudged(camera: Camera, rng: np.random.Generator) -> Camera:
    """The camera as it hangs that day: a centimetre and a degree away from where it was."""
    px, py, pz = (float(c + rng.normal(0, 0.01)) for c in camera.pos)
    ax, ay, az = (float(c + rng.normal(0, 0.03)) for c in camera.look_at)
    return Camera((px, py, pz), (ax, ay, az), camera.fov_deg)
