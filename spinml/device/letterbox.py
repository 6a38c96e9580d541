"""How photos go into ultralytics' models: fitted into a square, padded on both sides."""

from __future__ import annotations

import ast
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from spinml.errors import ModelFileError
from spinml.images import Photo

_PADDING_GREY = 114
"""What ultralytics pads with in training."""


@dataclass(frozen=True)
class Letterbox:
    """How a photo was fitted into the model's square: scaled, then padded."""

    scaled_width: int
    scaled_height: int
    left: int
    top: int


def letterbox(photo: Photo, side: int) -> tuple[Photo, Letterbox]:
    """Fit ``photo`` into a square, padded on both sides, as in training."""
    height, width = photo.shape[:2]
    scale = side / max(height, width)
    fit_width, fit_height = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (side - fit_width) // 2, (side - fit_height) // 2
    square = np.full((side, side, 3), _PADDING_GREY, np.uint8)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    square[top : top + fit_height, left : left + fit_width] = cv2.resize(
        photo, (fit_width, fit_height), interpolation=interpolation
    )
    return square, Letterbox(fit_width, fit_height, left, top)


def square_batch(square: Photo) -> npt.NDArray[np.float32]:
    """``square`` ``(s, s, 3)`` as the models take it: ``(1, 3, s, s)`` in [0, 1]."""
    return np.ascontiguousarray(square.transpose(2, 0, 1)[None], np.float32) / np.float32(255.0)


def input_side(shape: list[int | str], declared: str | None) -> int:
    """The side of the model's square input: fixed in the model, or declared in its metadata."""
    if len(shape) == 4 and isinstance(shape[2], int) and shape[2] == shape[3]:
        return shape[2]
    try:
        height, width = ast.literal_eval(declared or "")
    except (ValueError, SyntaxError, TypeError):
        height, width = 0, 1
    if height != width:
        raise ModelFileError(f"the model's input {shape} is no square of a known size")
    return int(height)
