"""Decoding YOLOv8-seg: against a graph whose detections are known, and against a real export."""

import os
import subprocess
import sys

import numpy as np
import pytest

from spinml.device.segmenter import Segmenter
from spinml.errors import ModelFileError, UnknownObjectError
from tests.device.models import brightness_classifier, segmenter
from tests.photos import cat

DOG, BOTTLE = 0, 1


def photo(width=640, height=480):
    return np.zeros((height, width, 3), np.uint8)


def test_a_detection_is_the_box_cut_with_its_mask(tmp_path):
    # 640 x 480 lies in the square at rows 8 to 56, ten photo pixels to one of the square's.
    model = Segmenter(segmenter(tmp_path / "s.onnx", [([32, 32, 32, 32], DOG, 0.9)]))
    mask = model.segment(photo(), "dog")
    expected = np.zeros((480, 640), bool)
    expected[80:240, 160:480] = True  # rows 16 to 32 of the square: the grid's upper half
    assert mask.shape == (480, 640)
    assert (mask & expected).sum() / (mask | expected).sum() > 0.9


def test_all_detections_of_the_class_and_no_other(tmp_path):
    found = [
        ([10, 20, 10, 10], DOG, 0.9),
        ([50, 20, 10, 10], DOG, 0.8),
        ([30, 20, 10, 10], BOTTLE, 0.9),
        ([30, 20, 20, 20], DOG, 0.1),  # under the threshold
    ]
    model = Segmenter(segmenter(tmp_path / "s.onnx", found))
    dogs, bottles = model.segment(photo(), "dog"), model.segment(photo(), "pill bottle")
    assert dogs[120, 100]
    assert dogs[120, 500]
    assert not dogs[120, 300]
    assert bottles[120, 300]
    assert not bottles[120, 100]


def test_portraits_are_not_mirrored(tmp_path):
    model = Segmenter(segmenter(tmp_path / "s.onnx", [([26, 10, 8, 12], DOG, 0.9)]))
    mask = model.segment(photo(480, 640), "dog")
    rows, columns = np.nonzero(mask)
    assert mask.shape == (640, 480)
    assert columns.mean() == pytest.approx((26 - 8) * 10, abs=12)
    assert rows.mean() == pytest.approx(100, abs=12)


def test_overlapping_boxes_are_one_detection(tmp_path):
    one = ([32, 32, 32, 32], DOG, 0.9)
    again = ([33, 32, 32, 32], DOG, 0.8)
    masks = [
        Segmenter(segmenter(tmp_path / f"{len(found)}.onnx", found)).segment(photo(), "dog")
        for found in ([one], [one, again])
    ]
    assert np.array_equal(*masks)


def test_nothing_found_is_none(tmp_path):
    model = Segmenter(segmenter(tmp_path / "s.onnx", [([32, 32, 8, 8], DOG, 0.1)]))
    assert model.segment(photo(), "dog") is None


@pytest.mark.parametrize("words", ["dog", "Dogs", " DOG ", "pill  bottles", "Pill Bottle"])
def test_names_are_taken_in_any_case_and_number(tmp_path, words):
    model = Segmenter(segmenter(tmp_path / "s.onnx", [([32, 32, 8, 8], DOG, 0.9)]))
    assert model.class_of(words) == ("ill" in words.lower())


def test_an_unknown_object_names_the_known(tmp_path):
    model = Segmenter(segmenter(tmp_path / "s.onnx", [([32, 32, 8, 8], DOG, 0.9)]))
    with pytest.raises(UnknownObjectError) as caught:
        model.segment(photo(), "unicorn")
    assert "dog, pill bottle" in caught.value.remedy


def test_other_models_are_refused(tmp_path):
    with pytest.raises(ModelFileError, match="no YOLOv8-seg model"):
        Segmenter(brightness_classifier(tmp_path / "c.onnx"))


EXPORT = """
import sys
from ultralytics import YOLO
model = YOLO("yolov8n-seg.yaml")
model.export(format="onnx", imgsz=128, simplify=False, verbose=False)
"""


@pytest.mark.slow
def test_a_real_ultralytics_export_loads(tmp_path):
    environment = os.environ | {"YOLO_AUTOINSTALL": "false", "YOLO_CONFIG_DIR": str(tmp_path)}
    subprocess.run(
        [sys.executable, "-c", EXPORT],
        cwd=tmp_path,
        env=environment,
        check=True,
        timeout=200,
        capture_output=True,
    )
    (path,) = tmp_path.glob("*.onnx")
    model = Segmenter(path, confidence=0.0)
    assert model.size_px == 128
    assert len(model.class_names) == 80
    mask = model.segment(cat(), "7")  # untrained: what it finds is chance, its form is not
    assert mask is None or mask.shape == (480, 640)


def test_several_objects_in_one_pass(tmp_path):
    found = [([20, 20, 24, 24], 0, 0.9), ([48, 16, 16, 16], 1, 0.8)]
    model = Segmenter(segmenter(tmp_path / "s.onnx", found))
    dogs, bottles = model.segment_all(photo(), ["dog", "pill bottles"])
    assert np.array_equal(dogs, model.segment(photo(), "dog"))
    assert np.array_equal(bottles, model.segment(photo(), "pill bottle"))
    assert not (dogs & bottles).any()
    only_dogs = Segmenter(segmenter(tmp_path / "d.onnx", found[:1]))
    assert only_dogs.segment_all(photo(), ["pill bottle", "dog"])[0] is None


def test_two_objects_of_one_class_cannot_be_told_apart(tmp_path):
    model = Segmenter(segmenter(tmp_path / "s.onnx", []))
    with pytest.raises(UnknownObjectError, match="cannot tell dog, dogs from each other"):
        model.classes_of(["dog", "dogs"])
