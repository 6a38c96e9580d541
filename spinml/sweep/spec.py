"""What a sweep tries: a request, and a space of preferences, features, noise, mixtures, seeds."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from spinml.errors import ConfigError, InvalidRequestError, SpinMLError
from spinml.home.photos import HomeTask
from spinml.preference import by_segment
from spinml.request import Scheme, TrainingRequest, named_objects, parse_request
from spinml.sweep.labels import label_of
from spinml.sweep.space import Space
from spinml.written import checked, read_yaml

MAX_CONDITIONS = 10_000


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Search(_Part):
    """How the space is searched."""

    kind: Literal["grid", "optuna"] = "grid"
    """grid: everything. optuna: multi-objective TPE, utility up, each segment's MI down."""
    trials: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _trials_where_needed(self) -> Search:
        if (self.kind == "optuna") != (self.trials is not None):
            raise ValueError("trials belongs to kind optuna, and must be given there")
        return self


class EarlyStopping(_Part):
    """Leave out the further seeds of a hopeless preference: :mod:`spinml.sweep.hopeless`."""

    after_seeds: int = Field(default=2, ge=2)


class PhotosOfHome(_Part):
    """The private photos that play the device; folders, relative to the sweep's file."""

    references: Path
    labelled: Path
    """One sub-folder a class."""
    masks: Path | None = None
    """In place of the segmenter: ``<photo's stem>.png``."""
    keypoints: Path | None = None
    """For the feature ``pose``: ``<photo's stem>.json``."""


class ShippedPhotos(_Part):
    """The photos of a private home that comes with the package."""

    home: HomeTask


class SweepSpec(_Part):
    """A sweep file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$")
    request: dict[str, Any]
    """Fields of a TrainingRequest."""
    space: Space
    search: Search = Search()
    early_stopping: EarlyStopping | None = None
    photos: PhotosOfHome | ShippedPhotos | None = None
    """None: those of the shipped home that shows the request's (first) target object."""
    wanted_accuracy: float | None = Field(default=None, gt=0, le=1)
    """The utility (accuracy, or mAP50) that the recommendation is to reach, a share; None: there is
    none, and the front stands for itself."""
    sensitivity: dict[str, float] = Field(default_factory=dict)
    """How much each segment's leakage counts in the recommendation, by its name or its object's
    words; 1 where not named."""

    @model_validator(mode="after")
    def _stops_seeds_of_a_grid(self) -> SweepSpec:
        if self.early_stopping and self.search.kind != "grid":
            raise ValueError("early_stopping leaves out seeds of a grid; search.kind is not grid")
        if any(weight < 0 for weight in self.sensitivity.values()):
            raise ValueError("sensitivity must not be negative")
        return self

    @field_validator("sensitivity")
    @classmethod
    def _weighs_segments(cls, weights: dict[str, float], info: ValidationInfo) -> Any:
        """By segments' names; a word that is none would count as 1 in silence."""
        objects = named_objects(info.data.get("request", {}))
        return by_segment("sensitivity", weights, objects) if objects else weights

    def base_request(self) -> TrainingRequest:
        """The request without the space.

        Raises:
            InvalidRequestError: see :func:`spinml.request.parse_request`.
        """
        return parse_request(self.request)

    def conditions(self) -> list[Condition]:
        """All that is tried but for the seed, each once, in the space's order.

        Raises:
            InvalidRequestError: none, more than 10 000, or none that is valid.
        """
        axes = self.space.axes()
        count = math.prod(len(options) for options in axes.values())
        if not count or (not axes and len(self.space.seeds) == 1):
            raise InvalidRequestError(
                "the sweep's space is empty",
                remedy="name at least one preference, feature, noise or mixture in it",
            )
        if count > MAX_CONDITIONS:
            raise InvalidRequestError(
                f"the space has {count} conditions, at most {MAX_CONDITIONS} are wanted"
            )
        by_label: dict[str, Condition] = {}
        for _, condition in self.points():
            by_label.setdefault(condition.label, condition)
        found = list(by_label.values())
        valid = [condition for condition in found if condition.error is None]
        if not valid:
            raise InvalidRequestError(
                f"none of {len(found)} condition(s) of the sweep is valid; the first is "
                f"{found[0].label}: {found[0].error.message if found[0].error else ''}",
                remedy="mend the request or the space",
            )
        return found

    def condition(self, point: Mapping[str, int]) -> Condition:
        """The condition at ``point``, which names the option of each axis by its index."""
        axes = self.space.axes()
        chosen = [axes[axis][index] for axis, index in point.items()]
        try:
            request = parse_request(_laid_over(self.request, chosen))
        except SpinMLError as error:
            return Condition(f"not valid: {_described(chosen)}", None, error)
        return Condition(label_of(request), request, None)

    def points(self) -> Iterator[tuple[dict[str, int], Condition]]:
        """Every point of the axes with its condition; several points may share one."""
        axes = self.space.axes()
        for place in itertools.product(*(range(len(options)) for options in axes.values())):
            point = dict(zip(axes, place, strict=True))
            yield point, self.condition(point)


@dataclass(frozen=True)
class Condition:
    """What a trial tries, but for its seed."""

    label: str
    """"(L2 σ=10, L0)", in the order of the request's segments; unique in a sweep."""
    request: TrainingRequest | None
    error: SpinMLError | None
    """Why there is no request."""

    def at(self, seed: int) -> TrainingRequest:
        """The request with ``seed``.

        Raises:
            SpinMLError: the condition is not valid.
        """
        if self.request is None:
            raise self.error or InvalidRequestError("the condition has no request")
        return self.request.model_copy(update={"seed": seed})


def load_sweep(path: Path) -> SweepSpec:
    """Read a YAML sweep file. ``request`` may be the path of a request file.

    Raises:
        ConfigError: unreadable, or not valid; all problems at once.
    """
    data = _read_yaml(path)
    if isinstance(data, dict):
        if isinstance(data.get("request"), str):
            data["request"] = _read_yaml(path.parent / data["request"])
        for role, folder in (data.get("photos") or {}).items():
            if folder is not None and role != "home":
                data["photos"][role] = str(path.parent / str(folder))
    remedy = "mend the fields named; examples/sweep.yaml shows one"
    return checked(SweepSpec, data, "the sweep", remedy, ConfigError)


def _read_yaml(path: Path) -> Any:
    return read_yaml(path, "the sweep or its request", "examples/sweep.yaml", ConfigError)


def _laid_over(base: Mapping[str, Any], chosen: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``base`` with all chosen fields, by segment; a setting of what is not sent is left out.

    Raises:
        InvalidRequestError: a segment is not there, or is named twice.
    """
    objects = named_objects(base)
    above = _by_segment(functools.reduce(_merged, chosen, {}), objects)
    data = _merged(_by_segment(base, objects), above)
    written = [data.get("privacy"), *(data.get("mixture") or ())]
    members = [member for member in written if isinstance(member, Mapping)]
    for field, scheme in (("features", Scheme.L1), ("noise", Scheme.L2), ("schemes", Scheme.L2)):
        if isinstance(data.get(field), Mapping):
            data[field] = {
                name: value
                for name, value in data[field].items()
                if value is not None and any(member.get(name) == scheme for member in members)
            }
    return data


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``below`` under ``above``; mappings in both are laid over each other."""
    data = dict(below)
    for field, value in above.items():
        under = data.get(field)
        both = isinstance(under, Mapping) and isinstance(value, Mapping)
        data[field] = {**under, **value} if both else value  # type: ignore[dict-item]
    return data


def _by_segment(fields: Mapping[str, Any], objects: Sequence[str]) -> dict[str, Any]:
    """``fields`` by segments' names, so that what is laid over each other is named alike."""
    data = dict(fields)
    if not objects:
        return data
    try:
        for field in ("privacy", "features", "noise", "schemes"):
            if field in data:
                data[field] = by_segment(field, data[field], objects)
        if isinstance(data.get("mixture"), list | tuple):
            data["mixture"] = [
                by_segment(f"mixture.{number}", member, objects)
                for number, member in enumerate(data["mixture"])
            ]
    except ValueError as error:
        raise InvalidRequestError(
            f"the request is not valid: {error}", remedy="name each segment of the request once"
        ) from None
    return data


def _described(chosen: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for fields in chosen:
        for field, value in fields.items():
            parts.append(f"{field}={value}")
    return ", ".join(parts)
