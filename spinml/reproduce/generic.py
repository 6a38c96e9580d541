"""Table 7: generic models on the homes' labelled photos, without training (§5.7)."""

from __future__ import annotations

import numpy as np

from spinml.device.detection_evaluation import class_figures
from spinml.device.labelled_boxes import read_labelled
from spinml.home.photos import shipped_home
from spinml.reproduce.experiments import LABELLING, Experiment
from spinml.request import parse_request
from spinml.sweep.estimates import Estimate


def measure_generic(experiment: Experiment, classifier: str, detector: str | None) -> Estimate:
    """The generic model's accuracy or mAP50 in percent; the accuracy's interval is over photos.

    Args:
        classifier: see :func:`spinml.training.zero_shot.measure_baseline`.
        detector: see :class:`spinml.training.zero_shot_detection.ZeroShotDetector`.

    Raises:
        CheckpointError: the model cannot be loaded.
    """
    if shipped_home(experiment.home).detection:
        value = 100 * _map50(experiment, str(detector))
        return Estimate(value, None, (value, value))  # the same again on the same photos
    from spinml.training.zero_shot import measure_baseline  # torch: not for --list

    request = parse_request(experiment.request(LABELLING))
    labelled = shipped_home(experiment.home).folder / "test"
    figures = measure_baseline(request, labelled, model=classifier).as_dict()
    low, high = figures["interval_95"]
    return Estimate(100 * figures["accuracy"], None, (100 * low, 100 * high))


def _map50(experiment: Experiment, name: str) -> float:
    """A zero-shot detector's AP50 for the first target object."""
    from spinml.training.zero_shot_detection import ZeroShotDetector

    wanted, model = experiment.objects[0], ZeroShotDetector(name)
    truth, found = [], []
    for item in read_labelled(shipped_home(experiment.home).folder / "test", [wanted]):
        boxes = [(*box.box, 0) for box in item.boxes if box.label == wanted]
        truth.append(np.array(boxes, np.float64).reshape(-1, 5))
        (seen,) = model.detect([item.photo], [wanted])
        columns = (seen.boxes, seen.labels[:, None], seen.scores[:, None])
        found.append(np.concatenate(columns, axis=1).astype(np.float64))
    return class_figures(truth, found, 1)[0].ap50
