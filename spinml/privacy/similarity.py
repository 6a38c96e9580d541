"""SIM, eq. 2: how alike private segments and synthetic ones are (§3.4), measured at home.

The server sends embeddings of what it made; those of private photos never travel.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spinml.errors import ModelFileError
from spinml.images import Photo, resize
from spinml.privacy.onnx_session import open_session

DEFAULT_PX = 128
_BATCH = 16

Embeddings = npt.NDArray[np.float32]
"""Shape ``(n, d)``."""


class OnnxEmbedder:
    """Embeds photos by an ONNX model in onnxruntime.

    The model takes float32 ``(n, 3, px, px)``, RGB in [0, 1], and gives float32 ``(n, d)``.
    ``px`` is read from the model, and is 128 where the model leaves it open.

    Raises:
        ModelFileError: no such file, or not a model of that form.
    """

    def __init__(self, path: Path, *, threads: int = 0):
        self._session = open_session(path, threads=threads)
        inputs = self._session.get_inputs()
        shape = inputs[0].shape if len(inputs) == 1 else []
        if len(shape) != 4 or inputs[0].type != "tensor(float)":
            raise ModelFileError(
                f"{path.name} is no embedder: it takes {len(inputs)} input(s), the first of shape "
                f"{shape}; wanted one of float32 (n, 3, px, px)"
            )
        self._input = inputs[0].name
        self.size_px = shape[2] if isinstance(shape[2], int) else DEFAULT_PX

    def __call__(self, photos: Sequence[Photo]) -> Embeddings:
        """L2-normalised embeddings of RGB ``photos``, each ``(H, W, 3)``: shape ``(n, d)``.

        Raises:
            ModelFileError: what the model gives is none.
        """
        batches = [photos[at : at + _BATCH] for at in range(0, len(photos), _BATCH)]
        if not batches:
            raise ValueError("no photos to embed")
        return np.concatenate([self._embed(batch) for batch in batches])

    def _embed(self, photos: Sequence[Photo]) -> Embeddings:
        px = self.size_px
        scaled = np.stack([resize(photo, px, px) for photo in photos])
        batch = np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), np.float32) / 255.0
        try:
            return normalised(np.asarray(self._session.run(None, {self._input: batch})[0]))
        except ValueError as error:
            raise ModelFileError(f"the model is no embedder: {error}") from None


def normalised(embeddings: npt.NDArray[np.floating]) -> Embeddings:
    """Rows of ``(n, d)`` at length one.

    Raises:
        ValueError: not two-dimensional, or a row without direction (zero, infinite, NaN).
    """
    if embeddings.ndim != 2:
        raise ValueError(f"embeddings of shape {embeddings.shape}, wanted (n, d)")
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    if not np.all(np.isfinite(lengths) & (lengths > 0)):
        raise ValueError("an embedding is zero or not finite: it has no direction")
    return np.asarray(embeddings / lengths, np.float32)


def similarity(private: Embeddings, synthetic: Embeddings) -> float:
    """SIM(P, Q) of eq. 2: the mean cosine over all pairs of ``(n, d)`` and ``(m, d)`` embeddings.

    Raises:
        ValueError: either is empty, or their widths differ.
    """
    if not len(private) or not len(synthetic):
        raise ValueError(f"SIM of {len(private)} private and {len(synthetic)} synthetic embeddings")
    if private.shape[1] != synthetic.shape[1]:
        raise ValueError(
            f"private embeddings have {private.shape[1]} numbers, synthetic {synthetic.shape[1]}: "
            "they were not made by the same embedder"
        )
    # The mean of all pairs' products is the product of the means.
    means = (normalised(item).astype(np.float64).mean(axis=0) for item in (private, synthetic))
    left, right = means
    return float(left @ right)
