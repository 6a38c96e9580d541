"""SIM at home (eq. 2): private segments against the embeddings that the server sent down."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from spinml.device.bundled import bundled_embedder
from spinml.errors import ModelFileError
from spinml.privacy.private import SegmentedPhoto
from spinml.privacy.sanitizer import private_segments
from spinml.privacy.similarity import OnnxEmbedder, similarity
from spinml.request import BACKGROUND, TARGET


def measure_similarity(
    photos: Sequence[SegmentedPhoto], embeddings: Path, embedder: Path | None = None
) -> dict[str, float]:
    """SIM of each segment.

    Args:
        embeddings: the NPZ of a run, with ``target`` ``(n, d)`` and ``background`` ``(m, d)``.
        embedder: the ONNX embedder that the run used; None takes the bundled one.

    Raises:
        ModelFileError: no embedder, or the file holds no such embeddings.
    """
    embed = OnnxEmbedder(embedder or bundled_embedder())
    private = private_segments(photos)
    try:
        with np.load(embeddings, allow_pickle=False) as file:
            synthetic = {name: file[name] for name in (TARGET, BACKGROUND)}
    except (OSError, ValueError, KeyError) as error:
        raise ModelFileError(
            f"the embeddings cannot be read: {type(error).__name__}",
            remedy="fetch them again: spinml device fetch RUN",
        ) from None
    return {name: similarity(embed(private[name]), synthetic[name]) for name in private}
