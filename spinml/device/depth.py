"""Estimating depth on the device: MiDaS or Depth Anything as ONNX in onnxruntime (§3.2)."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from spinml.errors import ModelFileError
from spinml.images import Photo
from spinml.privacy.extractor import Nearness
from spinml.privacy.onnx_session import open_session

_FREE_SIDE = 518
"""Side for a model that takes any: Depth Anything's, and a multiple of its 14-pixel patches."""
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


class OnnxDepth:
    """A model of relative inverse depth: RGB ``(1, 3, h, w)`` by ImageNet's mean and deviation in,
    ``(1, h, w)`` or ``(1, 1, h, w)`` out, larger is nearer. A
    :class:`spinml.privacy.extractor.DepthModel`.

    Raises:
        ModelFileError: no such file, or not a model of that form.
    """

    def __init__(self, path: Path, *, threads: int = 0):
        self._session = open_session(path, threads=threads)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(outputs) != 1 or len(shape) != 4 or shape[1] != 3:
            raise ModelFileError(
                f"{path.name} is no depth model: its first input is {shape} of {len(inputs)}, its "
                f"outputs are {len(outputs)}; wanted one input (1, 3, h, w) and one output",
                remedy="give MiDaS or Depth Anything, exported to ONNX",
            )
        self._input = inputs[0].name
        self._height, self._width = (n if isinstance(n, int) else _FREE_SIDE for n in shape[2:])

    def nearness(self, photo: Photo) -> Nearness:
        """Of ``photo`` ``(H, W, 3)``: shape ``(H, W)``, larger is nearer.

        Raises:
            ModelFileError: the model's output is no map, or not finite.
        """
        fitted = cv2.resize(photo, (self._width, self._height), interpolation=cv2.INTER_AREA)
        normal = (np.asarray(fitted, np.float32) / np.float32(255) - _MEAN) / _DEVIATION
        batch = np.ascontiguousarray(normal.transpose(2, 0, 1)[None])
        found = np.squeeze(np.asarray(self._session.run(None, {self._input: batch})[0], np.float32))
        if found.ndim != 2 or not np.isfinite(found).all():
            raise ModelFileError(f"the depth model gives no finite map but shape {found.shape}")
        size = (photo.shape[1], photo.shape[0])
        return np.asarray(cv2.resize(found, size, interpolation=cv2.INTER_LINEAR), np.float32)
