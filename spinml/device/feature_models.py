"""The models that a request's features need: opened only when it names them."""

from __future__ import annotations

from pathlib import Path

from spinml.device.depth import OnnxDepth
from spinml.device.pose import OnnxPose
from spinml.privacy.extractor import FeatureModels
from spinml.request import Scheme, TrainingRequest


def open_models(
    request: TrainingRequest, *, pose: Path | None = None, depth: Path | None = None
) -> FeatureModels:
    """The models at ``pose`` and ``depth`` that ``request`` has a use for.

    The package carries neither: where one is needed and no path is given, its place stays None
    and the feature itself tells what it lacks.

    Raises:
        ModelFileError: a file is missing, or no such model.
    """
    named = {
        request.feature_of(segment)
        for segment, scheme in request.disclosures
        if scheme == Scheme.L1
    }
    return FeatureModels(
        pose=OnnxPose(pose) if pose and "pose" in named else None,
        depth=OnnxDepth(depth) if depth and "depth" in named else None,
    )
