"""From files to segmented photos: what preview and submit begin with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spinml.bundle import BundleLimits
from spinml.device.bundled import bundled_segmenter
from spinml.device.keypoints import load_keypoints
from spinml.device.segmenter import Segmenter
from spinml.errors import BundleLimitError, NoTargetFoundError, PhotoError
from spinml.images import Mask, Photo, decode_mask, decode_photo
from spinml.privacy.private import PrivatePhoto, SegmentedPhoto
from spinml.privacy.usable import Skipped, Usable, usable
from spinml.request import BACKGROUND, Scheme, TrainingRequest


@dataclass(frozen=True)
class Loaded:
    """The photos on which a target object is, and those that were left out.

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
    limits: BundleLimits | None = None,
) -> Loaded:
    """Decode and segment ``paths``; ``masks`` stand in for the segmenter.

    There is one mask for each photo and target object: all of the first photo, in the order of the
    request's target objects, then all of the second. A black one says that the object is not on
    the photo. ``keypoints``, one file a photo, stand in for the pose model. ``limits`` are those of
    a bundle to be made of them; photos beyond are not read. None takes any number.

    Raises:
        BundleLimitError: more images of a segment than ``limits`` allow.
        PhotoError: a photo, mask or keypoint file cannot be used; says which by its place, from 1.
        NoTargetFoundError: no target object is on any of the photos.
        UnknownObjectError: the segmenter has no such class.
        ModelFileError: there is no segmenter.
    """
    objects = len(request.target_objects)
    _require_count("mask", masks, len(paths), objects)
    _require_count("keypoints", keypoints, len(paths))
    poses = [load_keypoints(path, index + 1) for index, path in enumerate(keypoints)]
    photos, sources, skipped = [], [], []
    images: Counter[str] = Counter()
    for index, (photo, found) in enumerate(_segmented(request, paths, masks, segmenter)):
        if not any(mask.any() for mask in found.values()):
            skipped.append(Skipped(index, f"no {_either(request)} was found on it"))
            continue
        pose = poses[index] if poses else None
        photos.append(SegmentedPhoto(PrivatePhoto(photo), found, pose))
        sources.append(index)
        if limits is not None:
            images.update(_sent_of(request, photos[-1]))
            _require_few(images, limits)
    if paths and not photos:
        raise NoTargetFoundError(
            f"no {_either(request)} was found on any of {len(paths)} photo(s); nothing was sent",
            remedy="choose photos that show it whole, or give masks with --mask",
        )
    return Loaded(tuple(photos), tuple(sources), tuple(skipped))


def _require_count(option: str, files: Sequence[Path], photos: int, objects: int = 1) -> None:
    if files and len(files) != photos * objects:
        of = f" of {objects} target objects" if objects > 1 else ""
        each = " and target object, photo by photo" if objects > 1 else ", in their order"
        raise PhotoError(
            f"{len(files)} {option} file(s) for {photos} photo(s){of}",
            remedy=f"give --{option} once for each photo{each}",
        )


def _sent_of(request: TrainingRequest, photo: SegmentedPhoto) -> list[str]:
    """The segments of which an image leaves."""
    found = usable(request, photo)
    if not isinstance(found, Usable):
        return []
    objects = [name for name in found.objects if request.disclosed(name) != (Scheme.L0,)]
    return [*objects, BACKGROUND] if found.background else objects


def _require_few(images: Mapping[str, int], limits: BundleLimits) -> None:
    for name, count in images.items():
        if count > limits.max_images_per_segment:
            raise BundleLimitError(
                f"{name} is on more than {limits.max_images_per_segment} photos, at most that many "
                "images of it are taken",
                remedy="choose fewer photos",
            )


def _either(request: TrainingRequest) -> str:
    return " or ".join(request.target_objects)


def _segmented(
    request: TrainingRequest,
    paths: Sequence[Path],
    masks: Sequence[Path],
    segmenter: Path | None,
) -> Iterator[tuple[Photo, dict[str, Mask]]]:
    """Each photo, and by segment the masks of the target objects that were found or given."""
    names = request.object_segments
    if masks:
        for index, path in enumerate(paths):
            photo = _numbered(index, path)
            first = index * len(names)
            given = range(first, first + len(names))
            yield (
                photo,
                {
                    name: _matching(place, index, photo, decode_mask(masks[place]))
                    for name, place in zip(names, given, strict=True)
                },
            )
        return
    if not paths:
        return  # where all is at L0 nothing needs photos, nor a segmenter
    model = Segmenter(segmenter or bundled_segmenter())
    model.classes_of(request.target_objects)  # before any photo is opened
    for index, path in enumerate(paths):
        photo = _numbered(index, path)
        found = zip(names, model.segment_all(photo, request.target_objects), strict=True)
        yield photo, {name: mask for name, mask in found if mask is not None}


def _numbered(index: int, path: Path) -> Photo:
    try:
        return decode_photo(path)
    except PhotoError as error:
        raise PhotoError(f"photo {index + 1}: {error.message}", remedy=error.remedy) from None


def _matching(place: int, index: int, photo: Photo, mask: Mask) -> Mask:
    """``mask``, the one at ``place`` of those given, if it is as large as photo ``index``."""
    if mask.shape != photo.shape[:2]:
        raise PhotoError(
            f"mask {place + 1} has {mask.shape[1]} x {mask.shape[0]} pixels, "
            f"its photo {photo.shape[1]} x {photo.shape[0]}",
            remedy="give a mask of the photo's size, after its EXIF rotation",
        )
    return mask
