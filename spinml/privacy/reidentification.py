"""The re-identification attack: does what was sent pick the right photo out of a gallery?

The attacker sees one sent image of a segment. It has a gallery of candidate photos, knows where
the target object is on each, puts every candidate through the same sanitizer with the same
request, and picks the one whose result is most alike. That is all that a server which keeps what
it was sent can do, once it comes by photos of the person.

With the very photo in the gallery, whatever is not noise is found: that is the worst case, and
says little of the scheme. The figure to look at holds the photo out: the gallery has *another shot*
of the same moment instead (:func:`other_shot`), as a second camera or the next frame gives it.
Alike is the normalised cross-correlation, best over small shifts, of coarse images: on the
shipped home it found at least as many photos as the cosine of embeddings did, for pixels and for
feature maps.

Each segment is attacked by what was sent of it, at several schemes by the best of them; who
combines segments finds at least what the better one finds. Ten photos of one home are few: mind
the interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from spinml.errors import FeatureMissingError
from spinml.images import on_plain_ground
from spinml.intervals import wilson_interval
from spinml.privacy.private import PrivatePhoto, SegmentedPhoto
from spinml.privacy.sanitizer import Sanitized
from spinml.privacy.views import PhotoView, Pixels, take_views
from spinml.request import Scheme

TURN_DEGREES, ZOOM, SHIFT = 5.0, 0.08, 0.04
"""How far another shot is turned, zoomed, and moved as a share of the frame: a hand-held camera."""
GAIN, NOISE_STD = 0.25, 4.0
"""How its exposure differs, as a share, and its sensor noise in 8-bit steps."""

_COMPARED_PX = 32
_BLUR_SIGMA = 0.7
"""Edges are one pixel wide: without a blur they miss each other."""
_SEARCH_PX = 3


@dataclass(frozen=True)
class Reidentification:
    """How often the attacker's first pick was right; shares in [0, 1]."""

    images: int
    """Sent images that were attacked; 0 at L0, where the attacker can but guess."""
    gallery: int
    rate: float
    chance: float
    interval_95: tuple[float, float]
    """Wilson's; both ends are chance at L0, which is exact."""


Candidate = PhotoView | None
"""What the sanitizer makes of a photo in the gallery; None where it makes nothing."""


def sanitize_alike(sanitized: Sanitized, photos: Sequence[SegmentedPhoto]) -> list[Candidate]:
    """The photos of a gallery, each put through the sanitizer as ``sanitized`` was."""
    return [_candidate(sanitized, photo) for photo in photos]


def reidentify(
    sanitized: Sanitized, gallery: Sequence[Candidate], *, seed: int = 0
) -> dict[str, Reidentification]:
    """Attack every sent image, segment by segment: the attack by segment.

    Args:
        gallery: of :func:`sanitize_alike`. First what it has of each photo, in the order of
            ``sanitized.views``: the very photo, or another shot of it. Then distractors: further
            photos, at best of the same person.
        seed: of the gallery's order, which decides between candidates that are equally alike.

    Raises:
        ValueError: the gallery is empty, or has fewer photos than ``sanitized``.
    """
    if not gallery or len(gallery) < len(sanitized.views):
        raise ValueError(
            f"a gallery of {len(gallery)} for {len(sanitized.views)} photos, wanted one of each "
            "and at least one"
        )
    found: dict[str, Reidentification] = {}
    for name, scheme in sanitized.bundle.request.disclosures:
        attack = _attack(sanitized.views, gallery, (name, scheme), np.random.default_rng(seed))
        if name not in found or attack.rate > found[name].rate:
            found[name] = attack
    return found


def _attack(
    views: Sequence[PhotoView],
    gallery: Sequence[Candidate],
    sent: tuple[str, Scheme],
    rng: np.random.Generator,
) -> Reidentification:
    """The attack by what was ``sent``, a segment at a scheme."""
    images = [view.image(*sent) for view in views]
    right = [index for index, image in enumerate(images) if image is not None]
    candidates = [None if view is None else view.image(*sent) for view in gallery]
    picks = pick([image for image in images if image is not None], candidates, rng)
    hits = sum(picked == index for index, picked in zip(right, picks, strict=True))
    return _counted(hits, len(right), len(gallery))


def pick(
    sent: Sequence[Pixels], candidates: Sequence[Pixels | None], rng: np.random.Generator
) -> list[int]:
    """The candidate that is most alike, for each sent image.

    Args:
        sent: ``(H, W)``, ``(H, W, 3)`` or ``(H, W, 4)`` each.
        candidates: of the same kind; None, of which the sanitizer made nothing, is never picked.
        rng: decides between candidates that are equally alike.
    """
    if not sent:
        return []
    order = [int(index) for index in rng.permutation(len(candidates))]
    usable = [(index, candidates[index]) for index in order]
    padded = [(index, _padded(image)) for index, image in usable if image is not None]
    picks = []
    for image in sent:
        template = _coarse(image)
        scores = [_correlation(template, candidate) for _, candidate in padded]
        picks.append(padded[int(np.argmax(scores))][0] if scores else -1)
    return picks


def other_shot(item: SegmentedPhoto, rng: np.random.Generator) -> SegmentedPhoto:
    """The same moment by another camera, simulated: moved, turned, zoomed, exposed anew, noisy."""
    photo = item.photo.pixels
    height, width = photo.shape[:2]
    turn, zoom = rng.uniform(-TURN_DEGREES, TURN_DEGREES), 1 + rng.uniform(-ZOOM, ZOOM)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn, zoom)
    matrix[:, 2] += rng.uniform(-SHIFT, SHIFT, 2) * (width, height)
    moved = cv2.warpAffine(photo, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
    masks = {
        name: np.asarray(
            cv2.warpAffine(mask.astype(np.uint8), matrix, (width, height), flags=cv2.INTER_NEAREST),
            np.bool_,
        )
        for name, mask in item.masks.items()
    }
    keypoints = None
    if item.keypoints is not None:
        keypoints = item.keypoints.copy()
        keypoints[:, :2] = keypoints[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    levels = moved * (1 + rng.uniform(-GAIN, GAIN)) + rng.normal(0, NOISE_STD, moved.shape)
    return SegmentedPhoto(
        PrivatePhoto(levels.round().clip(0, 255).astype(np.uint8)), masks, keypoints
    )


def _counted(hits: int, images: int, gallery: int) -> Reidentification:
    chance = 1 / gallery
    if not images:
        return Reidentification(0, gallery, chance, chance, (chance, chance))
    return Reidentification(images, gallery, hits / images, chance, wilson_interval(hits, images))


def _candidate(sanitized: Sanitized, photo: SegmentedPhoto) -> Candidate:
    # Who has not the device's noise key draws other noise; here, another seed draws it.
    request = sanitized.bundle.request
    request = request.model_copy(update={"seed": request.seed ^ 1})
    try:
        views, _ = take_views(request, [photo], sanitized.way)
    except FeatureMissingError:
        return None
    return views[0] if views else None


def _coarse(image: Pixels) -> npt.NDArray[np.float32]:
    """``(32, 32, 3)``, blurred; transparent shows the plain ground."""
    if image.ndim == 2:
        image = np.dstack([image] * 3)
    elif image.shape[2] == 4:
        image = on_plain_ground(image)
    side = (_COMPARED_PX, _COMPARED_PX)
    small = cv2.resize(image, side, interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), _BLUR_SIGMA), np.float32)


def _padded(image: Pixels) -> npt.NDArray[np.float32]:
    by = _SEARCH_PX
    padded = cv2.copyMakeBorder(_coarse(image), by, by, by, by, cv2.BORDER_REPLICATE)
    return np.asarray(padded, np.float32)


def _correlation(template: npt.NDArray[np.float32], padded: npt.NDArray[np.float32]) -> float:
    """Normalised cross-correlation in [-1, 1] at the best shift."""
    return float(cv2.matchTemplate(padded, template, cv2.TM_CCOEFF_NORMED).max())
