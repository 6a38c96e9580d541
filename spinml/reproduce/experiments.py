"""What is run for the tables: five requests on three homes, and the conditions of each (§4.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from spinml.errors import ConfigError
from spinml.home.photos import HomeTask, shipped_home
from spinml.reproduce.paper import paper_tables
from spinml.request import Task
from spinml.sweep.spec import Condition, SweepSpec

WANTED_UTILITY = 0.5
"""What the sweep's own report recommends for; no table depends on it."""
CLASSES = 4
"""Of the pet's and the person's task (§4.1)."""
LABELLING = 4
"""Images a class in a request of which only the label is wanted."""
_SIGMA = " σ="


@dataclass(frozen=True)
class Experiment:
    """A request on a shipped home: one sweep."""

    name: str
    dataset: str
    """What the paper calls its data."""
    home: HomeTask
    objects: tuple[str, ...]
    """Target objects, in the order of a preference's schemes."""
    features: Mapping[str, str] = field(default_factory=dict)
    """L1's feature where it is not canny (§4.2)."""

    @property
    def segments(self) -> tuple[str, ...]:
        """As :attr:`spinml.request.TrainingRequest.segments`."""
        further = (f"target_{n}" for n in range(2, len(self.objects) + 1))
        return ("target", *further, "background")

    def request(self, images_per_class: int) -> dict[str, Any]:
        """Fields of the request, without a preference.

        Every task has as many images a preference (the paper: 1,600): a detection, whose images
        are of one class, draws as many as the others do of their four.
        """
        home = shipped_home(self.home)
        record = home.record
        fields: dict[str, Any] = {
            "target_objects": list(self.objects),
            "background": record.background,
            "features": dict(self.features),
            "images_per_class": images_per_class,
            "image_px": home.image_px,
        }
        if home.detection:
            objective = f"A model that finds my {self.objects[0]}"
            images = {"images_per_class": CLASSES * images_per_class}
            return fields | images | {"task": Task.DETECTION.value, "training_objective": objective}
        objective = f"A model that tells what my {self.objects[0]} is doing"
        return fields | {"training_objective": objective, "label_classes": record.label_classes}


EXPERIMENTS = {
    one.name: one
    for one in (
        Experiment("pet", "husky", "pet", ("dog",)),
        Experiment("noise", "noisy husky", "pet", ("dog",)),
        Experiment("human", "human", "human", ("person",), {"target": "pose"}),
        Experiment("bottle", "bottle", "bottle", ("pill bottle",)),
        Experiment("two_objects", "two objects", "bottle", ("pill bottle", "photo frame")),
    )
}
"""One sweep each; what two of them share they share by the store."""
_OF_DATASET = {one.dataset: one for one in EXPERIMENTS.values()}
_OF_TABLE = {
    "3a": "pet", "4a": "pet",
    "5": "noise",
    "3b": "human", "4b": "human",
    "3c": "bottle", "4c": "bottle",
    "6": "two_objects", "6-frame": "two_objects",
}  # fmt: skip
TABLES = tuple(paper_tables())
GENERIC = "7"
"""The table of generic models, which needs no sweep."""


def seeds_by_experiment(text: str) -> dict[str, int]:
    """How many seeds each experiment has: "3" of all, "1,pet=3" where some have others.

    Raises:
        ConfigError: no such experiment, no number, or one below 1.
    """
    every, own = 3, {}
    for part in text.split(","):
        name, _, count = part.strip().rpartition("=")
        if not count.isdecimal() or int(count) < 1 or name not in ("", *EXPERIMENTS):
            raise ConfigError(
                f"seeds are {text!r}",
                remedy="a number from 1 on, such as 3, and further ones of single experiments, such"
                f" as 1,pet=3; there are {', '.join(EXPERIMENTS)}",
            )
        if name:
            own[name] = int(count)
        else:
            every = int(count)
    return dict.fromkeys(EXPERIMENTS, every) | own


def tables_of(names: Sequence[str]) -> tuple[str, ...]:
    """The tables that ``names`` mean, in the paper's order; "6" brings the photo frame's MI.

    Raises:
        ConfigError: one is no table.
    """
    unknown = [name for name in names if name not in TABLES]
    if unknown:
        raise ConfigError(
            f"no such table: {', '.join(unknown)}", remedy=f"there are {', '.join(TABLES)}"
        )
    wanted = {*names, *(["6-frame"] if "6" in names else [])}
    return tuple(name for name in TABLES if name in wanted)


def source_of(table: str, row: str) -> tuple[Experiment, str] | None:
    """Which experiment and which condition a row is measured by; None where no sweep does (7)."""
    if table == GENERIC:
        return None
    if table == "4d":
        # Prompts as they are before tuning puts an identifier token into them.
        return _OF_DATASET[row], "L0,L0"
    return EXPERIMENTS[_OF_TABLE[table]], row


def experiment_of(table: str, row: str) -> Experiment:
    """Whose photos a row is about."""
    source = source_of(table, row)
    return source[0] if source else _OF_DATASET[row]


def conditions_of(experiment: Experiment, tables: Iterable[str]) -> list[str]:
    """What ``tables`` need of ``experiment``: conditions as the paper writes them, each once."""
    found: dict[str, None] = {}
    for table in tables:
        for row in paper_tables()[table].rows:
            source = source_of(table, row)
            if source and source[0] is experiment:
                found[source[1]] = None
    return list(found)


def fields_of(condition: str, segments: Sequence[str]) -> dict[str, Any]:
    """Fields of a request for a condition such as "L0,L0 + L2,L0" or "L2 σ=5,L0"."""
    noise: dict[str, float] = {}
    members = []
    for member in condition.split(" + "):
        schemes = {}
        for segment, part in zip(segments, member.split(","), strict=True):
            scheme, _, sigma = part.partition(_SIGMA)
            schemes[segment] = scheme
            if sigma:
                noise[segment] = float(sigma)
        members.append(schemes)
    fields: dict[str, Any] = {"privacy": members[0]}
    if members[1:]:
        fields["mixture"] = members[1:]
    return fields | ({"noise": noise} if noise else {})


def sweep_of(
    experiment: Experiment, conditions: Sequence[str], seeds: int, images_per_class: int
) -> SweepSpec:
    """The sweep that measures ``conditions`` with the seeds 0 … ``seeds`` - 1."""
    written = [fields_of(one, experiment.segments) for one in conditions]
    return SweepSpec.model_validate(
        {
            "name": experiment.name,
            "request": experiment.request(images_per_class),
            "space": {"conditions": written, "seeds": seeds},
            "photos": {"home": experiment.home},
            "wanted_accuracy": WANTED_UTILITY,
        }
    )


def labelled(
    experiment: Experiment, conditions: Sequence[str], images_per_class: int = LABELLING
) -> dict[str, Condition]:
    """The sweep's condition by the paper's name for it."""
    found = sweep_of(experiment, conditions, 1, images_per_class).conditions()
    return dict(zip(conditions, found, strict=True))
