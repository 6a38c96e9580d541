"""What is measured at home of a run (§3.4): nothing of a private photo travels for it."""

from __future__ import annotations

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
    """Measure each segment; a target object that is on none of the photos is left out.

    Args:
        photos: those that ``sanitized`` was made of.
        embeddings: the NPZ of a run, as :func:`spinml.training.stages.run_measure` writes it.
        embedder: the ONNX embedder that the run used; None takes the bundled one.
        distractors: further photos for the gallery of the re-identification attack.

    Raises:
        ModelFileError: no embedder, or the file holds no such embeddings.
        NoTargetFoundError: no photo shows a target object and a background.
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
        measured[name] = SegmentMeasures(
            sim=similarity(own, run[name]),
            prompt_sim=prompt_similarity(own, run, name),
            copies=check_copies(own, run[name], run["index"]),
            same_photo=same[name],
            other_shot=other[name],
        )
    return measured


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
    except (OSError, ValueError) as error:
        raise ModelFileError(
            f"the embeddings cannot be read: {type(error).__name__}", remedy=_REMEDY
        ) from None
    absent = sorted({*segments, "index"} - set(run))
    if absent:
        raise ModelFileError(
            f"the embeddings lack {', '.join(absent)}, wanted {', '.join(segments)} and index",
            remedy=_REMEDY,
        )
    return run
