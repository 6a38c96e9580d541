"""Detecting and measuring with a detector whose answers are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from spinml.device.cli import app
from spinml.device.detection_evaluation import class_figures, evaluate_detector
from spinml.device.detector import Detector
from spinml.errors import ModelFileError, PhotoError
from spinml.images import decode_photo, encode_png
from tests.device.detectors import SIDE, detector
from tests.device.models import brightness_classifier

FOUND = [([8.0, 16.0, 24.0, 48.0], 0, 0.9), ([40.0, 16.0, 56.0, 32.0], 1, 0.4)]
SURE, UNSURE = FOUND


def photo(width: int = SIDE, height: int = SIDE) -> np.ndarray:
    return np.full((height, width, 3), 90, np.uint8)


def line(label: int, box: list[float], side: int = SIDE) -> str:
    x0, y0, x1, y1 = (value / side for value in box)
    return f"{label} {(x0 + x1) / 2} {(y0 + y1) / 2} {x1 - x0} {y1 - y0}\n"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return detector(tmp_path / "model.onnx", FOUND)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Two photos: both objects where the model finds them, and the bottle elsewhere."""
    folder = tmp_path / "labelled"
    texts = (line(0, SURE[0]) + line(1, UNSURE[0]), line(0, [30.0, 50.0, 60.0, 60.0]))
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for number, text in enumerate(texts):
        (folder / "images" / f"{number}.png").write_bytes(encode_png(photo()))
        (folder / "labels" / f"{number}.txt").write_text(text)
    return folder


def test_boxes_come_back_from_the_letterbox(model: Path) -> None:
    # 128 × 64 is scaled by a half and padded by 16 rows above and below.
    bottle, frame = Detector(model).detect(photo(128, 64))
    assert bottle.box == pytest.approx((16, 0, 48, 64))
    assert frame.box == pytest.approx((80, 0, 112, 32))
    assert (bottle.label, frame.label) == ("pill bottle", "photo frame")
    # And 64 × 128 is padded by 16 columns on either side.
    bottle, frame = Detector(model).detect(photo(64, 128))
    assert bottle.box == pytest.approx((0, 32, 16, 96))
    assert frame.box == pytest.approx((48, 32, 64, 64))
    assert [one.score for one in Detector(model).detect(photo(), 0.5)] == [pytest.approx(0.9)]


def test_boxes_do_not_leave_the_photo(tmp_path: Path) -> None:
    path = detector(tmp_path / "m.onnx", [([-5.0, -5.0, 90.0, 90.0], 0, 0.9)])
    (found,) = Detector(path).detect(photo())
    assert found.box == (0.0, 0.0, SIDE, SIDE)


def test_map50_precision_and_recall(model: Path, labelled: Path) -> None:
    evaluation = evaluate_detector(Detector(model), labelled)
    bottle, frame = (evaluation.per_class[name] for name in ("pill bottle", "photo frame"))
    # One of two bottles, by the first of two equal scores: AP is 51 of 101 recall points or less.
    assert (bottle.objects, bottle.precision, bottle.recall) == (2, 0.5, 0.5)
    assert bottle.ap50 == pytest.approx(51 / 101, abs=0.26)
    # The frame is found where it is, and, as surely, where none is.
    assert (frame.objects, frame.precision, frame.recall) == (1, 0.5, 1.0)
    assert evaluation.map50 == pytest.approx((bottle.ap50 + frame.ap50) / 2)
    assert evaluation.as_dict()["objects"] == 3


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_is_ultralytics(seed: int) -> None:
    from spinml.training.yolo import ultralytics

    opened_by = Image.open
    ultralytics()
    assert Image.open is opened_by
    import torch
    from ultralytics.engine.validator import BaseValidator
    from ultralytics.utils.metrics import ap_per_class, box_iou

    truth, found = _random_boxes(np.random.default_rng(seed))
    validator = BaseValidator.__new__(BaseValidator)
    validator.iouv = torch.tensor([0.5])
    right = []
    for wanted, ours in zip(truth, found, strict=True):
        overlaps = box_iou(torch.tensor(wanted[:, :4]), torch.tensor(ours[:, :4]))
        classes = torch.tensor(ours[:, 4]), torch.tensor(wanted[:, 4])
        right.append(validator.match_predictions(*classes, overlaps).numpy())
    rows = np.concatenate(found)
    theirs = ap_per_class(
        np.concatenate(right), rows[:, 5], rows[:, 4], np.concatenate(truth)[:, 4]
    )[5][:, 0]
    ours = [figures.ap50 for figures in class_figures(truth, found, 3).values()]
    # COCO takes the precision at each of 101 recalls, ultralytics interpolates between them.
    np.testing.assert_allclose(ours, theirs, atol=0.02)
    assert max(ours) > 0.1


def _random_boxes(rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Of 40 photos, true boxes and found ones, some of them near."""
    truth, found = [], []
    for _ in range(40):
        count = int(rng.integers(1, 4))
        corner, size = rng.uniform(0, 80, (count, 2)), rng.uniform(10, 40, (count, 2))
        true = np.column_stack([corner, corner + size, rng.integers(0, 3, count)])
        shaken = true[rng.integers(0, count, 4)] + np.pad(
            rng.normal(0, 3, (4, 4)), ((0, 0), (0, 1))
        )
        shaken[:, 4] = np.where(rng.random(4) < 0.8, shaken[:, 4], rng.integers(0, 3, 4))
        rows = np.column_stack([shaken, rng.random(4)])
        truth.append(true)
        found.append(rows[np.argsort(-rows[:, 5])])
    return truth, found


def test_objects_of_other_classes_are_left_out(model: Path, labelled: Path) -> None:
    (labelled / "data.yaml").write_text("names: {0: photo frame, 1: lamp}")
    evaluation = evaluate_detector(Detector(model), labelled)
    assert set(evaluation.per_class) == {"photo frame"}
    assert (evaluation.per_class["photo frame"].objects, evaluation.left_out) == (2, 1)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("7 0.5 0.5 0.1 0.1", "of class 7"),
        ("0 0.5 0.5 0.1", "no box"),
        ("0 32 32 10 10", "no box"),
        ("bottle 0.5 0.5 0.1 0.1", "no box"),
    ],
)
def test_a_bad_label(model: Path, labelled: Path, text: str, problem: str) -> None:
    (labelled / "labels" / "1.txt").write_text(text)
    with pytest.raises(PhotoError, match=f"photo 2 of 2.*{problem}") as caught:
        evaluate_detector(Detector(model), labelled)
    assert str(labelled) not in str(caught.value)


def test_folders_of_another_layout(model: Path, labelled: Path, tmp_path: Path) -> None:
    ready = Detector(model)
    (tmp_path / "classes" / "eating").mkdir(parents=True)
    with pytest.raises(PhotoError, match="no images/ and labels/"):
        evaluate_detector(ready, tmp_path / "classes")
    (labelled / "labels" / "0.txt").unlink()
    with pytest.raises(PhotoError, match=r"photo 1 of 2 has no file"):
        evaluate_detector(ready, labelled)
    for number in range(2):
        (labelled / "labels" / f"{number}.txt").write_text("")
    with pytest.raises(PhotoError, match="no object of the model's classes"):
        evaluate_detector(ready, labelled)
    for names in ("names: [lamp]", "nothing: 1", "names: 3"):
        (labelled / "data.yaml").write_text(names)
        with pytest.raises(PhotoError, match=r"none of the model's|data\.yaml"):
            evaluate_detector(ready, labelled)


def test_a_classifier_is_no_detector(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="'classification', not for detection") as caught:
        Detector(brightness_classifier(tmp_path / "c.onnx"))
    assert "task: detection" in caught.value.remedy


def test_commands(model: Path, labelled: Path, tmp_path: Path) -> None:
    taken = labelled / "images" / "0.png"
    run = CliRunner().invoke
    told = run(app, ["predict", str(model), str(taken), "--out", str(tmp_path / "drawn")])
    assert told.exit_code == 0, told.output
    assert "pill bottle\t90.0%\t8 16 24 48" in told.stdout
    drawn = decode_photo(tmp_path / "drawn" / "000_0.png")
    assert (drawn[20, 8] != 90).any()
    assert (drawn[60, 60] == 90).all()
    told = run(app, ["predict", str(model), str(taken), "--out", str(taken), "--json"])
    assert json.loads(told.stdout.splitlines()[-1])["error"]["code"] == "device_error"
    told = run(app, ["predict", str(model), str(taken), "--json"])
    found = json.loads(told.stdout)["detections"]
    assert [one["label"] for one in found] == ["pill bottle", "photo frame"]
    told = run(app, ["evaluate", str(model), str(labelled), "--json"])
    assert json.loads(told.stdout)["photos"] == 2
    assert run(app, ["evaluate", str(model), str(labelled)]).stdout.startswith("mAP50 ")


def test_a_classifier_draws_no_boxes(tmp_path: Path) -> None:
    path, image = brightness_classifier(tmp_path / "c.onnx"), tmp_path / "p.png"
    image.write_bytes(encode_png(photo()))
    told = CliRunner().invoke(app, ["predict", str(path), str(image), "--out", str(tmp_path / "o")])
    assert told.exit_code != 0
    assert not (tmp_path / "o").exists()
