"""The space of a sweep: preferences and mixtures, features, noise, seeds."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

LAID_OVER = ("privacy", "mixture", "features", "noise", "schemes")
"""The fields that a condition may have: those that its label tells."""
Options = Mapping[str, tuple[Any, ...]] | tuple[Mapping[str, Any], ...]
"""Either values by segment, all combinations of which are tried, or a list of mappings."""


class Space(BaseModel):
    """Preferences (and mixtures) × features × noise × seeds.

    ``preferences``, ``features`` and ``noise`` are each a grid ``{segment: [value, …]}`` or a list
    ``[{segment: value}, …]``, laid over the request's own. Schemes and segments are checked
    condition by condition, so that one that is wrong does not end the sweep.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    preferences: dict[str, tuple[str, ...]] | tuple[dict[str, str], ...] = ()
    features: dict[str, tuple[str, ...]] | tuple[dict[str, str], ...] = ()
    noise: dict[str, tuple[float | None, ...]] | tuple[dict[str, float], ...] = ()
    """σ on L2's pixels (§5.5); null stands for none."""
    mixtures: tuple[Annotated[tuple[dict[str, str], ...], Field(min_length=2)], ...] = ()
    """Datasets of several preferences, mixed (table 3): tried beside ``preferences``."""
    conditions: tuple[dict[str, Any], ...] = ()
    """Written out, in place of all above: which of LAID_OVER to lay over the request, condition
    by condition, where the conditions are no grid (tables 3-6)."""
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)

    @model_validator(mode="after")
    def _written_out_alone(self) -> Space:
        beside = self.preferences or self.features or self.noise or self.mixtures
        if self.conditions and beside:
            raise ValueError("conditions are written out in whole; give no other axis beside them")
        return self

    @field_validator("conditions")
    @classmethod
    def _told_apart(cls, conditions: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        other = sorted({field for fields in conditions for field in fields} - set(LAID_OVER))
        if other:
            raise ValueError(
                f"a condition has {', '.join(other)}; it may have {', '.join(LAID_OVER)}: seeds "
                "belong in space.seeds, all else in the request, with a sweep for each value"
            )
        return conditions

    @field_validator("seeds", mode="before")
    @classmethod
    def _count(cls, seeds: object) -> object:
        """A number ``n`` means the seeds 0 … n-1."""
        return tuple(range(seeds)) if isinstance(seeds, int) else seeds

    @field_validator("seeds")
    @classmethod
    def _valid_seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds) or not all(0 <= seed < 2**31 for seed in seeds):
            raise ValueError("seeds must differ and lie in [0, 2³¹)")
        return seeds

    def axes(self) -> dict[str, tuple[dict[str, Any], ...]]:
        """By axis, its options: fields to lay over the request. Axes without a choice are there.

        A grid of preferences is an axis for each segment, which tells a search more than one axis
        of all preferences; with mixtures beside it, it is one.
        """
        if self.conditions:
            return {"condition": self.conditions}
        axes: dict[str, tuple[dict[str, Any], ...]] = {}
        if self.mixtures:
            alone = [{"privacy": chosen} for chosen in _combinations(self.preferences)]
            mixed = [{"privacy": first, "mixture": more} for first, *more in self.mixtures]
            axes["preference"] = (*(alone if self.preferences else []), *mixed)
        else:
            axes |= _axes_of("privacy", self.preferences)
        return axes | _axes_of("features", self.features) | _axes_of("noise", self.noise)


def _axes_of(field: str, options: Options) -> dict[str, tuple[dict[str, Any], ...]]:
    if not options:
        return {}
    if isinstance(options, Mapping):
        return {
            f"{field}.{name}": tuple({field: {name: value}} for value in values)
            for name, values in options.items()
        }
    return {field: tuple({field: dict(chosen)} for chosen in options)}


def _combinations(options: Options) -> list[dict[str, Any]]:
    if isinstance(options, Mapping):
        return [
            dict(zip(options, chosen, strict=True))
            for chosen in itertools.product(*options.values())
        ]
    return [dict(chosen) for chosen in options]
