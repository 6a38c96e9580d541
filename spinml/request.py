"""The words both sides share: what a person asks for and is willing to disclose (§3.2)."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from spinml.errors import InvalidRequestError

TARGET: Final = "target"
BACKGROUND: Final = "background"
DEFAULT_FEATURE = "canny"
LEAST_NOISE, MOST_NOISE = 0.5, 500.0
"""Bounds of σ in grey levels: less is lost in rounding, more leaves nothing of a picture."""


class Scheme(StrEnum):
    """How much of a segment leaves the device (§3.2)."""

    L0 = "L0"
    """Words only."""
    L1 = "L1"
    """Words and a feature map: edges, soft edges, pose, box, depth."""
    L2 = "L2"
    """Words and the segment's pixels."""


class Task(StrEnum):
    """What the specialised model does."""

    CLASSIFICATION = "classification"
    """Which of the label classes a photo shows."""
    DETECTION = "detection"
    """Where the target object is."""


class PrivacyPreference(BaseModel):
    """One scheme for each segment: the paper's (L_i^t, L_j^b)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: Scheme = Scheme.L0
    background: Scheme = Scheme.L0

    def of(self, segment: str) -> Scheme:
        """The scheme of ``segment`` ("target" or "background")."""
        return {TARGET: self.target, BACKGROUND: self.background}[segment]

    def __str__(self) -> str:
        return f"({self.target}, {self.background})"


# One line of printable text, so that a prompt, a file name or a log line made of it stays one.
Words = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=60, pattern=r"^[\w][\w \-'/,.()]*$"
    ),
]
NoiseSigma = Annotated[float, Field(ge=LEAST_NOISE, le=MOST_NOISE, allow_inf_nan=False)]
Objective = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class TrainingRequest(BaseModel):
    """A person's request: the four keys of Table 2, the preference and the run's settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target_object: Words
    background: Words
    training_objective: Objective
    label_classes: tuple[Words, ...] = Field(min_length=1, max_length=50)
    """For detection the target object's words; may be left out then."""
    privacy: PrivacyPreference = PrivacyPreference()
    task: Task = Task.CLASSIFICATION
    seed: int = Field(default=0, ge=0, lt=2**31)
    images_per_class: int | None = Field(default=None, ge=4, le=5000)
    """Synthetic images per class; None takes the server's default."""
    features: dict[str, str] = Field(default_factory=dict, max_length=2)
    """Which feature L1 sends, by segment; "canny" where not named."""
    noise: dict[str, NoiseSigma] = Field(default_factory=dict, max_length=2)
    """σ of the Gaussian noise on L2's pixels (§5.5), by segment, in grey levels of 0 … 255."""
    schemes: dict[str, str] = Field(default_factory=dict, max_length=2)
    """Which plugin's scheme L2's pixels go through (§7), by segment."""

    @field_validator("label_classes")
    @classmethod
    def _distinct(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        folded = [name.casefold() for name in classes]
        twice = sorted({name for name in folded if folded.count(name) > 1})
        if twice:
            raise ValueError(f"label classes must differ, these stand twice: {', '.join(twice)}")
        return classes

    @model_validator(mode="before")
    @classmethod
    def _known_segments(cls, data: Any) -> Any:
        """Refuse a preference or setting for an object the request does not have."""
        if not isinstance(data, dict):
            return data
        for field in ("privacy", "features", "noise", "schemes"):
            named = data.get(field)
            if isinstance(named, dict):
                unknown = sorted(str(key) for key in named if key not in (TARGET, BACKGROUND))
                if unknown:
                    raise ValueError(
                        f"{field} names {', '.join(unknown)}, which the request does not have; "
                        f"it may name {TARGET} and {BACKGROUND}"
                    )
        return data

    @model_validator(mode="before")
    @classmethod
    def _detected(cls, data: Any) -> Any:
        """A detector's classes are the target objects."""
        if isinstance(data, dict) and data.get("task") == Task.DETECTION:
            return {"label_classes": _objects(data)} | data
        return data

    @model_validator(mode="after")
    def _classes_of_task(self) -> TrainingRequest:
        if self.task is Task.DETECTION and self.label_classes != (self.target_object,):
            raise ValueError(
                "label_classes of a detection must be the target object; leave them out"
            )
        if self.task is Task.CLASSIFICATION and len(self.label_classes) < 2:
            raise ValueError(
                "label_classes: a classification needs at least 2; or set task: detection"
            )
        return self

    @model_validator(mode="after")
    def _for_pixels(self) -> TrainingRequest:
        """Noise and plugin schemes change pixels: only L2 sends any."""
        for field, named in (("noise", self.noise), ("schemes", self.schemes)):
            for segment in named:
                if self.privacy.of(segment) != Scheme.L2:
                    raise ValueError(
                        f"{field} names {segment}, whose scheme is {self.privacy.of(segment)}; "
                        f"only pixels can have it: set privacy.{segment} to L2, or leave it out"
                    )
        both = sorted(set(self.noise) & set(self.schemes))
        if both:
            raise ValueError(f"{', '.join(both)} has both noise and a plugin's scheme; name one")
        return self

    def feature_of(self, segment: str) -> str:
        """The L1 feature of ``segment``."""
        return self.features.get(segment, DEFAULT_FEATURE)

    def words_of(self, segment: str) -> str:
        """The text description of ``segment``: all that L0 sends (§3.2)."""
        return self.target_object if segment == TARGET else self.background


def _objects(data: dict[str, Any]) -> list[Any]:
    """What a request's data names as its target objects, valid or not."""
    return [data["target_object"]] if "target_object" in data else []


def parse_request(data: object) -> TrainingRequest:
    """Validate ``data`` (a mapping).

    Raises:
        InvalidRequestError: lists every problem, not only the first.
    """
    try:
        return TrainingRequest.model_validate(data)
    except ValidationError as error:
        raise InvalidRequestError(
            "the request is not valid: " + "; ".join(describe_problems(error)),
            remedy="mend the fields named; README, section “Request file”, shows one",
            details={"problems": describe_problems(error)},
        ) from None


def load_request(path: Path) -> TrainingRequest:
    """Read a YAML (or JSON) request file.

    Raises:
        InvalidRequestError: the file cannot be read or is not valid.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidRequestError(
            f"the request file cannot be read: {type(error).__name__}",
            remedy="give a YAML file such as examples/pet.yaml",
        ) from None
    return parse_request(data)


def describe_problems(error: ValidationError) -> list[str]:
    """One line a problem, ``field: what is wrong``, without the (private or huge) input."""
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        where = ".".join(str(part) for part in problem["loc"]) or "request"
        lines.append(f"{where}: {problem['msg'].removeprefix('Value error, ')}")
    return lines
