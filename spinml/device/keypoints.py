"""Keypoints given in files beside the photos, as OpenPose writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from spinml.errors import PhotoError
from spinml.privacy.private import Keypoints

Number = Annotated[float, Field(allow_inf_nan=False)]


class _Person(BaseModel):
    pose_keypoints_2d: list[Number] = Field(min_length=54, max_length=54)


class _File(BaseModel):
    people: list[_Person] = Field(min_length=1, max_length=1)


def load_keypoints(path: Path, photo: int) -> Keypoints:
    """The 18 keypoints of one person, shape ``(18, 3)``, in pixels of the photo.

    The file is OpenPose's JSON of its COCO model: ``{"people": [{"pose_keypoints_2d": [x, y,
    confidence, …]}]}``, 54 numbers; other fields are passed over. x and y are pixels of the photo
    after its EXIF rotation.

    Args:
        photo: the photo's place, from 1, for the error.

    Raises:
        PhotoError: it cannot be read, or does not hold one person's 54 numbers.
    """
    try:
        (person,) = _File.model_validate_json(path.read_bytes()).people
    except (OSError, ValidationError) as error:
        raise PhotoError(
            f"the keypoints of photo {photo} cannot be read: {type(error).__name__}",
            remedy="give OpenPose's JSON of one person by its COCO model: 54 numbers",
        ) from None
    return np.asarray(person.pose_keypoints_2d, np.float32).reshape(18, 3)
