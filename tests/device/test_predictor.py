"""Predicting and measuring with a model whose answers are known."""

import numpy as np
import pytest

from spinml.device.predictor import Predictor
from spinml.errors import ModelFileError, PhotoError
from spinml.images import encode_png
from tests.device.models import brightness_classifier, segmenter


@pytest.fixture
def model(tmp_path):
    return Predictor(brightness_classifier(tmp_path / "model.onnx"))


def plain(level, width=50, height=40):
    return np.full((height, width, 3), level, np.uint8)


@pytest.fixture
def labelled(tmp_path):
    for name, levels in (("dark", [0, 10, 250]), ("bright", [255] * 40)):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        (folder / "notes.txt").write_text("no photo")
        for index, level in enumerate(levels):
            (folder / f"{index}.png").write_bytes(encode_png(plain(level)))
    return tmp_path / "photos"


def test_predict(model):
    dark, bright = model.predict([plain(20), plain(240, 33, 90)])
    assert (dark.label, bright.label) == ("dark", "bright")
    assert sum(dark.probabilities.values()) == pytest.approx(1)
    assert model.predict([]) == []


def test_evaluate(model, labelled):
    figures = model.evaluate(labelled).as_dict()
    assert figures["photos"] == 43
    assert figures["confusion"] == [[2, 1], [0, 40]]
    assert figures["accuracy"] == pytest.approx(42 / 43)
    assert figures["per_class"] == {"dark": pytest.approx(2 / 3), "bright": 1.0}
    low, high = figures["interval_95"]
    assert low < figures["accuracy"] < high < 1


def test_evaluate_refuses_folders_it_cannot_use(model, labelled, tmp_path):
    (labelled / "purple").mkdir()
    with pytest.raises(PhotoError, match="purple") as caught:
        model.evaluate(labelled)
    assert "dark, bright" in caught.value.remedy
    (tmp_path / "empty").mkdir()
    with pytest.raises(PhotoError, match="no photos"):
        model.evaluate(tmp_path / "empty")
    with pytest.raises(PhotoError, match="no folder"):
        model.evaluate(tmp_path / "none")


def test_models_of_another_kind(tmp_path):
    with pytest.raises(ModelFileError, match="does not say"):
        Predictor(segmenter(tmp_path / "s.onnx", [([1, 1, 1, 1], 0, 1.0)]))
    described = {"spinml.classes": "[]", "spinml.image_px": "32", "spinml.task": "detection"}
    with pytest.raises(ModelFileError, match="detection"):
        Predictor(brightness_classifier(tmp_path / "d.onnx", described))
