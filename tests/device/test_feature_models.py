"""Pose and depth on the device: ONNX models by path, and keypoints in files."""

import json

import numpy as np
import pytest

from spinml.device.depth import OnnxDepth
from spinml.device.feature_models import open_models
from spinml.device.keypoints import load_keypoints
from spinml.device.pose import OnnxPose
from spinml.errors import ModelFileError, PhotoError
from tests.device.models import brightness_classifier, pose_model, red_depth
from tests.photos import request_of, standing

COCO = np.stack([np.arange(17) + 20, np.arange(17) + 22, np.linspace(0.4, 0.9, 17)], axis=1)


def photo(width=640, height=480):
    return np.zeros((height, width, 3), np.uint8)


def test_the_surest_person_in_openposes_order(tmp_path):
    people = [(0.5, COCO * 0), (0.9, COCO), (0.6, COCO * 0)]
    found = OnnxPose(pose_model(tmp_path / "p.onnx", people, "[17, 3]")).keypoints(photo())
    # 640 x 480 lies in the square of 64 at rows 8 to 56, ten pixels of the photo to one of it.
    expected = COCO * (10, 10, 1) - (0, 80, 0)
    assert found.shape == (18, 3)
    assert found[0] == pytest.approx(expected[0], abs=1e-3)  # nose
    assert found[2] == pytest.approx(expected[6], abs=1e-3)  # right shoulder
    assert found[13] == pytest.approx(expected[15], abs=1e-3)  # left ankle
    assert found[17] == pytest.approx(expected[3], abs=1e-3)  # left ear
    assert found[1, :2] == pytest.approx(expected[[5, 6], :2].mean(axis=0), abs=1e-3)
    assert found[1, 2] == pytest.approx(expected[5, 2], abs=1e-3)  # as sure as the lesser shoulder


def test_nobody_is_none(tmp_path):
    model = OnnxPose(pose_model(tmp_path / "p.onnx", [(0.1, COCO)], "[17, 3]"))
    assert model.keypoints(photo()) is None


@pytest.mark.parametrize("kpt_shape", ["[21, 3]", "", "hands"])
def test_what_is_no_pose_model(tmp_path, kpt_shape):
    with pytest.raises(ModelFileError, match="no YOLOv8-pose model"):
        OnnxPose(pose_model(tmp_path / "p.onnx", [(0.9, COCO)], kpt_shape))
    with pytest.raises(ModelFileError, match="no model file"):
        OnnxPose(tmp_path / "none.onnx")


def test_depth_at_the_photos_size(tmp_path):
    pixels = photo()
    pixels[:, 320:, 0] = 255
    nearness = OnnxDepth(red_depth(tmp_path / "d.onnx")).nearness(pixels)
    assert nearness.shape == (480, 640)
    assert nearness[:, 400:].min() > nearness[:, :240].max()


def test_what_is_no_depth_model(tmp_path):
    with pytest.raises(ModelFileError, match="no depth model"):
        OnnxDepth(brightness_classifier(tmp_path / "c.onnx"))


def test_models_are_opened_only_for_features_that_need_them(tmp_path):
    path = pose_model(tmp_path / "p.onnx", [(0.9, COCO)], "[17, 3]")
    missing = tmp_path / "none.onnx"
    posed = open_models(request_of("L1", features={"target": "pose"}), pose=path, depth=missing)
    assert isinstance(posed.pose, OnnxPose)
    assert posed.depth is None
    for request in (request_of("L1"), request_of("L2", features={"target": "pose"})):
        assert open_models(request, pose=missing, depth=missing).pose is None
    with pytest.raises(ModelFileError):
        open_models(request_of("L0", "L1", features={"background": "depth"}), depth=missing)


def test_openposes_json(tmp_path):
    numbers = standing().ravel().tolist()
    path = tmp_path / "k.json"
    path.write_text(json.dumps({"version": 1.3, "people": [{"pose_keypoints_2d": numbers}]}))
    assert np.array_equal(load_keypoints(path, 1), standing())


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"people": []}',
        json.dumps({"people": [{"pose_keypoints_2d": [1.0] * 75}]}),
        json.dumps({"people": [{"pose_keypoints_2d": [1.0] * 54}] * 2}),
        json.dumps({"people": [{"pose_keypoints_2d": [float("nan")] * 54}]}),
    ],
)
def test_files_that_are_no_keypoints(tmp_path, content):
    path = tmp_path / "Rex.json"
    path.write_text(content)
    with pytest.raises(PhotoError, match="keypoints of photo 3") as caught:
        load_keypoints(path, 3)
    assert "Rex" not in str(caught.value)
    with pytest.raises(PhotoError, match="FileNotFoundError"):
        load_keypoints(tmp_path / "none.json", 1)
