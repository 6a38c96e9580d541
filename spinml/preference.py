"""Segments of a photo, and which scheme each of them has: the privacy preference (§3.2, §7)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field, RootModel, StringConstraints, field_validator

TARGET: Final = "target"
"""The segment of the first target object."""
BACKGROUND: Final = "background"
MAX_OBJECTS = 8
OBJECT_SEGMENTS = (TARGET, *(f"{TARGET}_{number}" for number in range(2, MAX_OBJECTS + 1)))
"""The names of target objects' segments, in the order of a request's target objects."""

SegmentName = Annotated[str, StringConstraints(pattern=r"^(target(_[2-8])?|background)$")]
"""One of OBJECT_SEGMENTS, or BACKGROUND."""


class Scheme(StrEnum):
    """How much of a segment leaves the device (§3.2)."""

    L0 = "L0"
    """Words only."""
    L1 = "L1"
    """Words and a feature map: edges, soft edges, pose, box, depth."""
    L2 = "L2"
    """Words and the segment's pixels."""


class PrivacyPreference(RootModel[dict[SegmentName, Scheme]]):
    """One scheme for each segment: the paper's (L_i^t, L_j^b), of any number of objects (§7).

    A mapping of segment to scheme, e.g. ``{"target": "L1", "target_2": "L0", "background": "L2"}``;
    target objects first, the background last; a segment that is not named is at L0.
    """

    model_config = ConfigDict(frozen=True)

    root: dict[SegmentName, Scheme] = Field(
        default_factory=lambda: {TARGET: Scheme.L0, BACKGROUND: Scheme.L0}
    )

    @field_validator("root")
    @classmethod
    def _in_order(cls, named: dict[str, Scheme]) -> dict[str, Scheme]:
        always = {TARGET: Scheme.L0, BACKGROUND: Scheme.L0} | named
        return {name: always[name] for name in (*OBJECT_SEGMENTS, BACKGROUND) if name in always}

    @property
    def target(self) -> Scheme:
        """The scheme of the first target object."""
        return self.of(TARGET)

    @property
    def background(self) -> Scheme:
        """The scheme of the background."""
        return self.of(BACKGROUND)

    def of(self, segment: str) -> Scheme:
        """The scheme of ``segment``; L0 where the preference does not name it."""
        return self.root.get(segment, Scheme.L0)

    def __hash__(self) -> int:
        return hash(tuple(self.root.items()))

    def __str__(self) -> str:
        return f"({', '.join(self.root.values())})"
