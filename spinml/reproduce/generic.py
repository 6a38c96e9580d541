"""Table 7: generic models on the homes' labelled photos, without training (§5.7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spinml.device.detection_evaluation import class_figures
from spinml.device.labelled_boxes import read_labelled
from spinml.home.photos import shipped_home
from spinml.images import Photo
from spinml.reproduce.experiments import LABELLING, Experiment
from spinml.request import parse_request
from spinml.sweep.estimates import Estimate

if TYPE_CHECKING:
    from spinml.training.zero_shot_detection import Detections

Detect = Callable[[Sequence[Photo], Sequence[str]], "Sequence[Detections]"]


def measure_generic(experiment: Experiment, classifier: str, detector: str | None) -> Estimate:
    """The generic model's accuracy or mAP50 in percent; the accuracy's interval is over photos.

    Args:
        classifier: see :func:`spinml.training.zero_shot.measure_baseline`.
        detector: see :class:`spinml.training.zero_shot_detection.ZeroShotDetector`.

    Raises:
        CheckpointError: the model cannot be loaded.
    """
    home = shipped_home(experiment.home)
    labelled = home.folder / "test"
    if home.detection:
        # Here, so that --list does not load torch.
        from spinml.training.zero_shot_detection import ZeroShotDetector

        detect = ZeroShotDetector(str(detector)).detect
        value = 100 * score_detector(labelled, experiment.objects[0], detect)
        return Estimate(value, None, (value, value))  # the same again on the same photos
    from spinml.training.zero_shot import measure_baseline

    request = parse_request(experiment.request(LABELLING))
    figures = measure_baseline(request, labelled, model=classifier).as_dict()
    low, high = figures["interval_95"]
    return Estimate(100 * figures["accuracy"], None, (100 * low, 100 * high))


def score_detector(labelled: Path, wanted: str, detect: Detect) -> float:
    """AP at IoU 0.5 of what ``detect`` finds for the words ``wanted``; a share.

    Args:
        labelled: photos with boxes, see :mod:`spinml.device.labelled_boxes`.
        detect: RGB photos and prompts to each photo's boxes.

    Raises:
        PhotoError: another layout, or a bad label.
    """
    truth, found = [], []
    for item in read_labelled(labelled, [wanted]):
        boxes = [(*box.box, 0) for box in item.boxes if box.label == wanted]
        truth.append(np.array(boxes, np.float64).reshape(-1, 5))
        (seen,) = detect([item.photo], [wanted])
        columns = (seen.boxes, seen.labels[:, None], seen.scores[:, None])
        found.append(np.concatenate(columns, axis=1).astype(np.float64))
    return class_figures(truth, found, 1)[0].ap50
