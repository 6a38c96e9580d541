"""What is measured at home of a run (§3.4): nothing of a private photo travels for it."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spinml.device.bundled import bundled_embedder
from spinml.errors import ModelFileError, NoTargetFoundError
from spinml.privacy.memorisation import CopyCheck, check_copies
from spinml.privacy.private import SegmentedPhoto
from spinml.privacy.reidentification import (
    Reidentification,
    other_shot,
    reidentify,
    sanitize_alike,
)
from spinml.privacy.sanitizer import Sanitized, private_segments
from spinml.privacy.similarity import Embeddings, OnnxEmbedder, similarity

_REMEDY = "fetch them again: spinml device fetch RUN"


@dataclass(frozen=True)
class PromptSimilarity:
    """SIM of the run's prompts and of the empty prompt with a private segment (table 4d)."""

    prompts: float
    empty: float


@dataclass(frozen=True)
class SegmentMeasures:
    """The figures of one segment beside MI."""

    sim: float
    """Eq. 2, in [-1, 1]."""
    prompt_sim: PromptSimilarity | None
    """None when the run's embedder has no text tower."""
    copies: CopyCheck | None
    """None when there are too few photos for a baseline."""
    same_photo: Reidentification
    """The attack whose gallery has the very photos: the worst case."""
    other_shot: Reidentification
    """The attack whose gallery has another shot of each photo instead."""


def measure_segments(
    sanitized: Sanitized,
    photos: Sequence[SegmentedPhoto],
    embeddings: Path,
    *,
    embedder: Path | None = None,
    distractors: Sequence[SegmentedPhoto] = (),
) -> dict[str, SegmentMeasures]:
    """Measure each segment; one that none of the photos shows is left out.

    Args:
        photos: those that ``sanitized`` was made of.
        embeddings: the NPZ of a run, as :func:`spinml.training.stages.run_measure` writes it.
        embedder: the ONNX embedder that the run used; None takes the bundled one.
        distractors: further photos for the gallery of the re-identification attack.

    Raises:
        ModelFileError: no embedder, not the run's, or the file holds no such embeddings.
        NoTargetFoundError: no photo shows a target object.
    """
    request = sanitized.bundle.request
    run = read_embeddings(embeddings, request.segments)
    embed = OnnxEmbedder(embedder or bundled_embedder())
    private = {name: images for name, images in private_segments(request, photos).items() if images}
    if not private:
        raise NoTargetFoundError(
            f"none of {len(photos)} photo(s) can be measured",
            remedy="give the photos that were submitted",
        )
    same, other = _attack(sanitized, photos, distractors)
    measured = {}
    for name, images in private.items():
        own = embed(images)
        _require_same_embedder(own, run[name])
        measured[name] = SegmentMeasures(
            sim=similarity(own, run[name]),
            prompt_sim=prompt_similarity(own, run, name),
            copies=check_copies(own, run[name], run["index"]),
            same_photo=same[name],
            other_shot=other[name],
        )
    return measured


def _require_same_embedder(own: Embeddings, run: Embeddings) -> None:
    if own.shape[1] != run.shape[1]:
        raise ModelFileError(
            f"the embedder's embeddings have {own.shape[1]} numbers, the run's {run.shape[1]}",
            remedy="give the run's embedder with --embedder",
        )


def _attack(
    sanitized: Sanitized, photos: Sequence[SegmentedPhoto], distractors: Sequence[SegmentedPhoto]
) -> tuple[dict[str, Reidentification], dict[str, Reidentification]]:
    """The attack with the very photos, and with another shot of each."""
    used = [photos[view.index] for view in sanitized.views]
    rng = np.random.default_rng(sanitized.bundle.request.seed)
    others = [other_shot(photo, rng) for photo in used]
    further = sanitize_alike(sanitized, distractors)
    return (
        reidentify(sanitized, sanitize_alike(sanitized, used) + further),
        reidentify(sanitized, sanitize_alike(sanitized, others) + further),
    )


def prompt_similarity(
    own: Embeddings, run: Mapping[str, npt.NDArray[Any]], name: str
) -> PromptSimilarity | None:
    """Prompt SIM of the segment ``name`` (table 4d); None when the run has no prompts' embeddings.

    Args:
        own: embeddings ``(n, d)`` of its private images.
        run: as :func:`read_embeddings` gives it.
    """
    prompts, empty = run.get(f"prompt_{name}"), run.get("empty_prompt")
    if prompts is None or empty is None:
        return None
    return PromptSimilarity(similarity(own, prompts), similarity(own, empty))


def read_embeddings(path: Path, segments: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a run's NPZ: embeddings of the synthetic segments by name, and ``index``.

    Args:
        segments: those that it must hold.

    Raises:
        ModelFileError: the file holds no such embeddings.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            run = dict(file)
    except (OSError, EOFError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelFileError(
            f"the embeddings cannot be read: {type(error).__name__}", remedy=_REMEDY
        ) from None
    absent = sorted({*segments, "index"} - set(run))
    if absent:
        raise ModelFileError(
            f"the embeddings lack {', '.join(absent)}, wanted {', '.join(segments)} and index",
            remedy=_REMEDY,
        )
    _require_shapes(run, segments)
    return run


def _require_shapes(run: Mapping[str, npt.NDArray[Any]], segments: Sequence[str]) -> None:
    """Raise unless places are ``(n,)``, segments ``(n, d)`` and prompts ``(k, d)``."""
    prompts = (*(f"prompt_{name}" for name in segments), "empty_prompt")
    embedded = {name: run[name] for name in (*segments, *prompts) if name in run}
    index = run["index"]
    if not (
        index.ndim == 1
        and index.dtype.kind in "iu"
        and all(map(_have_directions, embedded.values()))
        and {len(run[name]) for name in segments} == {len(index)}
        and len({array.shape[1] for array in embedded.values()}) == 1
    ):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in embedded.items())
        raise ModelFileError(
            f"the embeddings are of {shapes} and index {index.shape}; wanted (n, d) of each "
            "segment, no row zero or infinite, and (n,)",
            remedy=_REMEDY,
        )


def _have_directions(array: npt.NDArray[Any]) -> bool:
    if array.ndim != 2 or not array.size or array.dtype.kind not in "fiu":
        return False
    lengths = np.linalg.norm(array, axis=1)
    return bool(np.all(np.isfinite(lengths) & (lengths > 0)))
