"""Photos labelled with boxes in YOLO's format, on the device.

A folder has ``images/photo.jpg`` … and, of each, ``labels/photo.txt`` with a line ``class x y width
height`` for each object: its class's index, its box's middle and size in shares of the photo's
sides. No object: an empty file. ``data.yaml`` may say which classes the indices mean (``names``);
where there is none, they are the model's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from spinml.device.predictor import PHOTO_SUFFIXES
from spinml.errors import PhotoError
from spinml.images import Photo, decode_photo

_LAYOUT = "give a folder with photos in images/ and, of each, its boxes in labels/ (YOLO's format)"
_LINE = "a line is: class x y width height, the last four in shares of the photo's sides"


@dataclass(frozen=True)
class LabelledBox:
    """An object's class by name, and its box x0, y0, x1, y1 in the photo's pixels."""

    label: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class LabelledPhoto:
    """RGB pixels ``(H, W, 3)`` and all objects that are labelled."""

    photo: Photo
    boxes: tuple[LabelledBox, ...]


def read_labelled(folder: Path, classes: Sequence[str]) -> Iterator[LabelledPhoto]:
    """The photos of ``folder``, in order.

    Args:
        classes: what the indices mean where the folder does not say it.

    Raises:
        PhotoError: not that layout, a photo without labels, or a line that is none.
    """
    images, labels = folder / "images", folder / "labels"
    if not images.is_dir() or not labels.is_dir():
        raise PhotoError("the folder has no images/ and labels/", remedy=_LAYOUT)
    names = _names(folder / "data.yaml", classes)
    paths = sorted(path for path in images.iterdir() if path.suffix.lower() in PHOTO_SUFFIXES)
    if not paths:
        raise PhotoError("the folder has no photos", remedy=_LAYOUT)
    for number, path in enumerate(paths, 1):
        where = f"photo {number} of {len(paths)}"
        text = labels / f"{path.stem}.txt"
        if not text.is_file():
            raise PhotoError(
                f"{where} has no file in labels/", remedy="write an empty one where no object is"
            )
        photo = decode_photo(path)
        lines = text.read_text(encoding="utf-8", errors="replace").splitlines()
        boxes = [_box(line, names, photo, where) for line in lines if line.strip()]
        yield LabelledPhoto(photo, tuple(boxes))


def _names(path: Path, classes: Sequence[str]) -> dict[int, str]:
    """Index → class."""
    if not path.is_file():
        return dict(enumerate(classes))
    try:
        names = yaml.safe_load(path.read_text(encoding="utf-8"))["names"]
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        found = {int(index): str(name) for index, name in pairs}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError):
        raise PhotoError(
            "data.yaml does not say its classes",
            remedy="give it names: {0: …, 1: …}, or take it away where the indices are the model's",
        ) from None
    if not set(found.values()) & set(classes):
        raise PhotoError(
            f"the folder labels {', '.join(found.values())}, none of the model's classes",
            remedy=f"the model's are: {', '.join(classes)}",
        )
    return found


def _box(line: str, names: dict[int, str], photo: Photo, where: str) -> LabelledBox:
    fields = line.split()
    try:
        index, shares = int(fields[0]), [float(field) for field in fields[1:]]
    except ValueError:
        index, shares = -1, []
    if len(shares) != 4 or not all(-1e-3 <= share <= 1 + 1e-3 for share in shares):
        raise PhotoError(f"a label of {where} is no box", remedy=_LINE)
    if index not in names:
        raise PhotoError(
            f"a label of {where} is of class {index}, which is none",
            remedy="the classes are: " + ", ".join(f"{n} {name}" for n, name in names.items()),
        )
    x, y, width, height = shares
    rows, columns = photo.shape[:2]
    sides = (columns, rows, columns, rows)
    corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    x0, y0, x1, y1 = (share * side for share, side in zip(corners, sides, strict=True))
    return LabelledBox(names[index], (x0, y0, x1, y1))
