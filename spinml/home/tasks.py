"""The three tasks of the simulated home: their target objects, their classes, their usual place."""

from __future__ import annotations

from dataclasses import dataclass

from spinml.home.poses import STATUSES
from spinml.home.postures import ACTIVITIES


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        target: the subject it is about, as scenes call it.
        labels: its classes, which shards' labels index.
        subjects: all that a scene may hold, the target first; shards keep a box of each.
    """

    target: str
    labels: tuple[str, ...]
    subjects: tuple[str, ...]

    @property
    def detection(self) -> bool:
        """Whether photos are labelled with boxes of the subjects instead of one class."""
        return len(self.labels) == 1


TASKS = {
    "pet": Task("dog", STATUSES, ("dog",)),
    "human": Task("person", ACTIVITIES, ("person",)),
    "bottle": Task("bottle", ("bottle",), ("bottle", "frame")),
}


def task(name: str) -> Task:
    """The task of that name."""
    if name not in TASKS:
        raise ValueError(f"no task {name!r}; known: {', '.join(TASKS)}")
    return TASKS[name]
