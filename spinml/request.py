"""The words both sides share: what a person asks for and is willing to disclose (§3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from spinml.errors import InvalidRequestError
from spinml.preference import (
    BACKGROUND,
    MAX_OBJECTS,
    OBJECT_SEGMENTS,
    TARGET,
    PrivacyPreference,
    Scheme,
    by_segment,
    folded,
    preference_by_segment,
)
from spinml.written import checked, read_yaml

__all__ = [
    "BACKGROUND",
    "TARGET",
    "PrivacyPreference",
    "Scheme",
    "Task",
    "TrainingRequest",
    "load_request",
    "named_objects",
    "parse_request",
]

DEFAULT_FEATURE = "canny"
LEAST_NOISE, MOST_NOISE = 0.5, 500.0
"""Bounds of σ in grey levels: less is lost in rounding, more leaves nothing of a picture."""


class Task(StrEnum):
    """What the specialised model does."""

    CLASSIFICATION = "classification"
    """Which of the label classes a photo shows."""
    DETECTION = "detection"
    """Where the target objects are."""


# One line of printable text, so that a prompt or a log line made of it stays one. Not each is a
# file name: photos of a class with a slash in it stand in no folder for `evaluate`.
Words = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=60, pattern=r"^[\w][\w \-'/,.()]*$"
    ),
]
NoiseSigma = Annotated[float, Field(ge=LEAST_NOISE, le=MOST_NOISE, allow_inf_nan=False)]
# One line of printable text, too, of any letters and signs: neither control characters, nor those
# that end a line or turn its direction.
Objective = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=500,
        pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+$",
    ),
]


class TrainingRequest(BaseModel):
    """A person's request: the four keys of Table 2, the preference and the run's settings.

    A file names one ``target_object`` or several ``target_objects``. In ``privacy``, ``mixture``,
    ``features``, ``noise`` and ``schemes`` a key is a segment's name ("target", "target_2", …,
    "background") or a target object's words; here it is always the segment's name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    target_objects: tuple[Words, ...] = Field(min_length=1, max_length=MAX_OBJECTS)
    background: Words
    training_objective: Objective
    label_classes: tuple[Words, ...] = Field(min_length=1, max_length=50)
    """What the first target object may be doing; the others are drawn without a status. For
    detection the target objects' words, which may be left out then."""
    privacy: PrivacyPreference = PrivacyPreference()
    mixture: tuple[PrivacyPreference, ...] = Field(default=(), max_length=8)
    """Further preferences: a dataset for each, and one model trained on all of them."""
    task: Task = Task.CLASSIFICATION
    seed: int = Field(default=0, ge=0, lt=2**31)
    images_per_class: int | None = Field(default=None, ge=4, le=5000)
    """Synthetic images per class and preference; None takes the server's default."""
    image_px: int | None = Field(default=None, ge=64, le=1024, multiple_of=8)
    """Least side of the synthetic images; None takes the server's default, as does a smaller one.
    Where an object is a small part of a photo, its details need larger images."""
    features: dict[str, str] = Field(default_factory=dict)
    """Which feature L1 sends, by segment; "canny" where not named."""
    noise: dict[str, NoiseSigma] = Field(default_factory=dict)
    """σ of the Gaussian noise on L2's pixels (§5.5), by segment, in grey levels of 0 … 255."""
    schemes: dict[str, str] = Field(default_factory=dict)
    """Which plugin's scheme L2's pixels go through (§7), by segment."""

    @field_validator("label_classes")
    @classmethod
    def _distinct_classes(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        return _distinct("label classes", classes)

    @field_validator("target_objects")
    @classmethod
    def _distinct_objects(cls, objects: tuple[str, ...]) -> tuple[str, ...]:
        reserved = sorted({name for name in objects if name in (*OBJECT_SEGMENTS, BACKGROUND)})
        if reserved:
            raise ValueError(
                f"a target object cannot be called {', '.join(reserved)}: so are segments; "
                "say what it is"
            )
        return _distinct("target objects", objects)

    @model_validator(mode="before")
    @classmethod
    def _by_segment(cls, data: Any) -> Any:
        """One or several target objects into a list, objects' words into segments' names."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        if "target_object" in data:
            if "target_objects" in data:
                raise ValueError("give either target_object or target_objects")
            data["target_objects"] = [data.pop("target_object")]
        objects = named_objects(data)
        if not objects:
            return data
        if data.get("task") == Task.DETECTION:
            data.setdefault("label_classes", objects)
        for field in ("features", "noise", "schemes"):
            if field in data:
                data[field] = by_segment(field, data[field], objects)
        data["privacy"] = preference_by_segment("privacy", data.get("privacy", {}), objects)
        if isinstance(data.get("mixture"), list | tuple):
            data["mixture"] = [
                preference_by_segment(f"mixture.{number}", entry, objects, least=1)
                for number, entry in enumerate(data["mixture"])
            ]
        return data

    @model_validator(mode="after")
    def _classes_of_task(self) -> TrainingRequest:
        if self.task is Task.DETECTION and self.label_classes != self.target_objects:
            raise ValueError(
                "label_classes of a detection must be the target objects; leave them out"
            )
        if self.task is Task.CLASSIFICATION and len(self.label_classes) < 2:
            raise ValueError(
                "label_classes: a classification needs at least 2; or set task: detection"
            )
        return self

    @model_validator(mode="after")
    def _distinct_preferences(self) -> TrainingRequest:
        seen: set[PrivacyPreference] = set()
        for preference in self.preferences:
            if preference in seen:
                raise ValueError(
                    f"mixture repeats the preference {preference}; each makes a dataset of its "
                    "own: name every one once"
                )
            seen.add(preference)
        return self

    @model_validator(mode="after")
    def _for_pixels(self) -> TrainingRequest:
        """Noise and plugin schemes change pixels: only L2 sends any."""
        for field, named in (("noise", self.noise), ("schemes", self.schemes)):
            for segment in named:
                if Scheme.L2 not in self.disclosed(segment):
                    is_at = " and ".join(self.disclosed(segment))
                    raise ValueError(
                        f"{field} names {segment}, whose scheme is {is_at}; "
                        f"only pixels can have it: set privacy.{segment} to L2, or leave it out"
                    )
        both = sorted(set(self.noise) & set(self.schemes))
        if both:
            raise ValueError(f"{', '.join(both)} has both noise and a plugin's scheme; name one")
        return self

    @property
    def target_object(self) -> str:
        """The first target object: the one that ``label_classes`` describe."""
        return self.target_objects[0]

    @property
    def object_segments(self) -> tuple[str, ...]:
        """The target objects' segments, in their order: "target", "target_2", …"""
        return OBJECT_SEGMENTS[: len(self.target_objects)]

    @property
    def segments(self) -> tuple[str, ...]:
        """All segments: the target objects', then the background."""
        return (*self.object_segments, BACKGROUND)

    @property
    def preferences(self) -> tuple[PrivacyPreference, ...]:
        """One for each synthetic dataset: ``privacy``, then the mixture's. All differ."""
        return (self.privacy, *self.mixture)

    def disclosed(self, segment: str) -> tuple[Scheme, ...]:
        """The schemes in which ``segment`` is sent: what all preferences need together.

        L0 stands alone or not at all, for L1 and L2 come with the words.
        """
        wanted = {preference.of(segment) for preference in self.preferences}
        return tuple(sorted(wanted - {Scheme.L0})) or (Scheme.L0,)

    @property
    def disclosures(self) -> tuple[tuple[str, Scheme], ...]:
        """(segment, scheme) of every sanitized segment that a bundle of this request holds."""
        return tuple((name, scheme) for name in self.segments for scheme in self.disclosed(name))

    def feature_of(self, segment: str) -> str:
        """The L1 feature of ``segment``."""
        return self.features.get(segment, DEFAULT_FEATURE)

    def words_of(self, segment: str) -> str:
        """The text description of ``segment``: all that L0 sends (§3.2)."""
        if segment == BACKGROUND:
            return self.background
        return self.target_objects[self.object_segments.index(segment)]


def _distinct(what: str, names: tuple[str, ...]) -> tuple[str, ...]:
    alike = [folded(name) for name in names]
    twice = sorted({name for name in alike if alike.count(name) > 1})
    if twice:
        raise ValueError(f"{what} must differ, these stand twice: {', '.join(twice)}")
    return names


def named_objects(data: Mapping[str, Any]) -> list[str]:
    """The target objects of a request as it is written; none where it does not name them well."""
    objects = data.get("target_objects", [data.get("target_object")])
    if not isinstance(objects, list | tuple) or not all(isinstance(o, str) for o in objects):
        return []
    return list(objects[:MAX_OBJECTS])


def parse_request(data: object) -> TrainingRequest:
    """Validate ``data`` (a mapping).

    Raises:
        InvalidRequestError: lists every problem, not only the first.
    """
    remedy = "mend the fields named; README, section “Request file”, shows one"
    return checked(TrainingRequest, data, "the request", remedy, InvalidRequestError)


def load_request(path: Path) -> TrainingRequest:
    """Read a YAML (or JSON) request file.

    Raises:
        InvalidRequestError: the file cannot be read or is not valid.
    """
    found = read_yaml(path, "the request file", "examples/pet.yaml", InvalidRequestError)
    return parse_request(found)
