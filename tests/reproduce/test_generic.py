"""Table 7: generic models on the shipped homes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from spinml.device.labelled_boxes import read_labelled
from spinml.home.photos import shipped_home
from spinml.images import Photo
from spinml.reproduce.experiments import EXPERIMENTS
from spinml.reproduce.generic import measure_generic, score_detector
from spinml.training.zero_shot_detection import Detections

LABELLED = shipped_home("bottle").folder / "test"


@pytest.mark.parametrize(("label", "expected"), [("pill bottle", 1.0), ("photo frame", 0.0)])
def test_a_detector_is_scored_on_the_pill_bottle_alone(label: str, expected: float) -> None:
    truth = iter(read_labelled(LABELLED, ["pill bottle"]))

    def detect(photos: Sequence[Photo], prompts: Sequence[str]) -> list[Detections]:
        assert (len(photos), list(prompts)) == (1, ["pill bottle"])
        boxes = [box.box for box in next(truth).boxes if box.label == label]
        count = len(boxes)
        return [
            Detections(
                np.array(boxes, np.float32).reshape(-1, 4),
                np.full(count, 0.9, np.float32),
                np.zeros(count, np.int64),
            )
        ]

    found = score_detector(LABELLED, "pill bottle", detect)
    assert found == pytest.approx(expected, abs=0.05)


def test_the_bundled_encoder_is_scored_on_the_persons_photos() -> None:
    found = measure_generic(EXPERIMENTS["human"], "home", None)
    assert found.interval_95 is not None
    low, high = found.interval_95
    assert 0 < low < found.mean < high < 100
