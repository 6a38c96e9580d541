"""Segments of a photo, and which scheme each of them has: the privacy preference (§3.2, §7)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, RootModel, StringConstraints, field_validator

TARGET: Final = "target"
"""The segment of the first target object."""
BACKGROUND: Final = "background"
MAX_OBJECTS = 8
OBJECT_SEGMENTS = (TARGET, *(f"{TARGET}_{number}" for number in range(2, MAX_OBJECTS + 1)))
"""The names of target objects' segments, in the order of a request's target objects."""

SegmentName = Annotated[str, StringConstraints(pattern=r"^(target(_[2-8])?|background)$")]
"""One of OBJECT_SEGMENTS, or BACKGROUND."""
_SHOWN, _SHOWN_NAMES = 40, 5
"""How many characters of a wrong name, and how many such names, an error repeats."""


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


def by_segment(field: str, named: Any, objects: Sequence[str]) -> Any:
    """``named`` by segments' names instead of objects' words; what is no mapping as it is.

    Raises:
        ValueError: a key is neither, or two mean the same segment.
    """
    if not isinstance(named, dict):
        return named
    segments = (*OBJECT_SEGMENTS[: len(objects)], BACKGROUND)
    by_words = {folded(words): name for words, name in zip(objects, segments, strict=False)}
    found: dict[str, Any] = {}
    unknown = []
    for key, value in named.items():
        segment = key if key in segments else by_words.get(folded(str(key)))
        if segment is None:
            unknown.append(str(key)[:_SHOWN])
        elif segment in found:
            raise ValueError(f"{field} names {segment} twice, by its words and as a segment")
        else:
            found[segment] = value
    if unknown:
        may = [f"{name} ({words})" for name, words in zip(segments, objects, strict=False)]
        shown = ", ".join(sorted(unknown)[:_SHOWN_NAMES])
        raise ValueError(
            f"{field} names {shown}, which the request does not have; "
            f"it may name {', '.join(may)} and {BACKGROUND}"
        )
    return found


def preference_by_segment(field: str, named: Any, objects: Sequence[str], least: int = 0) -> Any:
    """As :func:`by_segment`, of a preference: what it does not name is at L0.

    Raises:
        ValueError: as there, or it names fewer than ``least`` segments.
    """
    if isinstance(named, PrivacyPreference):
        named = named.root
    named = by_segment(field, named, objects)
    if not isinstance(named, dict):
        return named
    if len(named) < least:
        raise ValueError(f"{field} is empty; write {{{TARGET}: L0}} for words alone")
    return dict.fromkeys(OBJECT_SEGMENTS[: len(objects)], Scheme.L0) | named


def folded(words: str) -> str:
    """``words`` without case and with single spaces: what is alike means the same object."""
    return " ".join(words.casefold().split())
