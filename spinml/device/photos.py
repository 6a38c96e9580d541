"""From files to segmented photos: what preview and submit begin with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spinml.device.bundled import bundled_segmenter
from spinml.device.keypoints import load_keypoints
from spinml.device.segmenter import Segmenter
from spinml.errors import NoTargetFoundError, PhotoError
from spinml.images import Mask, Photo, decode_mask, decode_photo
from spinml.privacy.private import PrivatePhoto, SegmentedPhoto
from spinml.privacy.sanitizer import Skipped
from spinml.request import TrainingRequest


@dataclass(frozen=True)
class Loaded:
    """The photos on which the target object is, and those that were left out.

    ``sources`` holds the place of each photo among the files that were given.
    """

    photos: tuple[SegmentedPhoto, ...]
    sources: tuple[int, ...]
    skipped: tuple[Skipped, ...]


def load_photos(
    request: TrainingRequest,
    paths: Sequence[Path],
    *,
    masks: Sequence[Path] = (),
    keypoints: Sequence[Path] = (),
    segmenter: Path | None = None,
) -> Loaded:
    """Decode and segment ``paths``; ``masks``, one a photo, stand in for the segmenter.

    ``keypoints``, one file a photo, stand in for the pose model.

    Raises:
        PhotoError: a photo, mask or keypoint file cannot be used; says which by its place, from 1.
        NoTargetFoundError: the target object is on none of the photos.
        UnknownObjectError: the segmenter has no such class.
        ModelFileError: there is no segmenter.
    """
    for option, files in (("mask", masks), ("keypoints", keypoints)):
        if files and len(files) != len(paths):
            raise PhotoError(
                f"{len(files)} {option} file(s) for {len(paths)} photo(s)",
                remedy=f"give --{option} once for each photo, in their order",
            )
    poses = [load_keypoints(path, index + 1) for index, path in enumerate(keypoints)]
    photos, sources, skipped = [], [], []
    for index, (photo, mask) in enumerate(_segmented(request, paths, masks, segmenter)):
        if mask is None or not mask.any():
            skipped.append(Skipped(index, f"no {request.target_object} was found on it"))
            continue
        pose = poses[index] if poses else None
        photos.append(SegmentedPhoto(PrivatePhoto(photo), mask, pose))
        sources.append(index)
    if paths and not photos:
        raise NoTargetFoundError(
            f"no {request.target_object} was found on any of {len(paths)} photo(s); "
            "nothing was sent",
            remedy="choose photos that show it whole, or give masks with --mask",
        )
    return Loaded(tuple(photos), tuple(sources), tuple(skipped))


def _segmented(
    request: TrainingRequest,
    paths: Sequence[Path],
    masks: Sequence[Path],
    segmenter: Path | None,
) -> Iterator[tuple[Photo, Mask | None]]:
    if masks:
        for index, (path, mask_path) in enumerate(zip(paths, masks, strict=True)):
            photo = _numbered(index, path)
            yield photo, _matching(index, photo, decode_mask(mask_path))
        return
    if not paths:
        return  # at (L0, L0) nothing needs photos, nor a segmenter
    model = Segmenter(segmenter or bundled_segmenter())
    model.class_of(request.target_object)  # before any photo is opened
    for index, path in enumerate(paths):
        photo = _numbered(index, path)
        yield photo, model.segment(photo, request.target_object)


def _numbered(index: int, path: Path) -> Photo:
    try:
        return decode_photo(path)
    except PhotoError as error:
        raise PhotoError(f"photo {index + 1}: {error.message}", remedy=error.remedy) from None


def _matching(index: int, photo: Photo, mask: Mask) -> Mask:
    if mask.shape != photo.shape[:2]:
        raise PhotoError(
            f"mask {index + 1} has {mask.shape[1]} x {mask.shape[0]} pixels, "
            f"its photo {photo.shape[1]} x {photo.shape[0]}",
            remedy="give a mask of the photo's size, after its EXIF rotation",
        )
    return mask
