"""What of a photo can be used: which target objects, and whether its background (§3.2, §7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spinml.images import Mask, bounding_box
from spinml.privacy.background import frame_size, has_background
from spinml.privacy.private import DeviceOnly, SegmentedPhoto
from spinml.request import BACKGROUND, Scheme, TrainingRequest

LEAST_TARGET_PX = 16
"""A target object whose longer side is shorter teaches nothing and is left out."""


LEAST_FRAME_PX = 3
"""A photo whose frame has a shorter side cannot be measured and is left out."""


@dataclass(frozen=True)
class Skipped:
    """A photo that was left out, and why."""

    index: int
    reason: str


@dataclass(frozen=True, repr=False)
class Usable(DeviceOnly):
    """What one photo gives."""

    found: Mapping[str, Mask]
    """All target objects on it, by segment; no pixel belongs to two."""
    objects: tuple[str, ...]
    """Those that are large enough to be taken."""
    background: bool
    """Whether the background is taken, too."""


def usable(request: TrainingRequest, item: SegmentedPhoto) -> Usable | str:
    """What ``item`` gives for ``request``, or why it gives nothing.

    The background is taken only where every target object is known to be, or known not to be: one
    that the segmenter missed would leave with it.
    """
    if min(frame_size(*item.photo.size)) < LEAST_FRAME_PX:
        return "it is too narrow"
    found = _apart(request, item.masks)
    one = len(request.target_objects) == 1
    if not found:
        return f"{'the' if one else 'no'} target object is {'not ' if one else ''}on it"
    large = tuple(name for name, mask in found.items() if _side(mask) >= LEAST_TARGET_PX)
    if not large:
        return f"the target object is smaller than {LEAST_TARGET_PX} pixels"
    needs_background = request.disclosed(BACKGROUND) != (Scheme.L0,)
    if needs_background and not has_background(list(found.values())):
        return "the target object leaves no background"
    known = set(request.object_segments) <= set(item.masks)
    return Usable(found, large, needs_background and known)


def _apart(request: TrainingRequest, masks: Mapping[str, Mask]) -> dict[str, Mask]:
    """The objects that are there; a pixel of several belongs to the one that is shared least.

    So the pixels of an object at L2 hold nothing of one at L0 whose mask overlaps its own.
    """
    there = [name for name in request.object_segments if name in masks and masks[name].any()]
    shared_least_first = sorted(there, key=lambda name: request.disclosed(name)[-1])
    apart: dict[str, Mask] = {}
    for name in shared_least_first:
        mask = masks[name].copy()
        for earlier in apart.values():
            mask &= ~earlier
        apart[name] = mask
    return {name: apart[name] for name in there if apart[name].any()}


def _side(mask: Mask) -> int:
    x0, y0, x1, y1 = bounding_box(mask)
    return max(x1 - x0, y1 - y0)
