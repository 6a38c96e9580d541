"""The detector: trained on trivially easy data, exported, used on the device, without a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from spinml.config import DetectionConfig, ServerConfig
from spinml.device.bundled import bundled_segmenter
from spinml.device.detection_evaluation import evaluate_detector
from spinml.device.detector import Detector
from spinml.device.predictor import Predictor
from spinml.errors import (
    ArtifactError,
    ConfigError,
    ModelFileError,
    StageCancelledError,
    StageError,
)
from spinml.images import encode_png
from spinml.pipeline.stages import Stage, StageContext, StageKind
from spinml.privacy.onnx_session import open_session
from spinml.training.detector import fit_detector
from spinml.training.detector_data import write_detection_data
from spinml.training.detector_export import check_detector
from spinml.training.detector_model import load_saved_detector
from spinml.training.detector_weights import load_detector
from spinml.training.stages import run_export, run_measure, run_train_local
from tests.training.squares import CLASSES, SIZE_PX, box_of, draw, write_dataset

SETTINGS = DetectionConfig(image_px=SIZE_PX, validation_share=0.2)


def context(out: Path, kind: StageKind, inputs: dict[str, Path], **params: object) -> StageContext:
    out.mkdir()
    stage = Stage(kind, {"task": "detection", "label_classes": CLASSES, "seed": 0} | params)
    return StageContext(stage, inputs, out, ServerConfig())


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("dataset"), 96)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("small"), 16)


@pytest.fixture(scope="module")
def model(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TRAIN's artifact."""
    out = tmp_path_factory.mktemp("train") / "model"
    settings = SETTINGS.model_dump()
    run_train_local(context(out, StageKind.TRAIN, {"dataset": dataset}, settings=settings))
    return out


@pytest.fixture(scope="module")
def exported(model: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EXPORT's file."""
    out = tmp_path_factory.mktemp("export") / "export"
    figures = run_export(context(out, StageKind.EXPORT, {"model": model, "dataset": dataset}))
    assert figures["boxes"] > 0
    return out / "model.onnx"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled images that training has not seen."""
    folder = tmp_path_factory.mktemp("labelled")
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for number in range(40):
        image, mask = draw(number % 2, 1000 + number)
        x0, y0, x1, y1 = (side / SIZE_PX for side in box_of(mask))
        line = f"{number % 2} {(x0 + x1) / 2} {(y0 + y1) / 2} {x1 - x0} {y1 - y0}\n"
        (folder / "images" / f"{number}.png").write_bytes(encode_png(image))
        (folder / "labels" / f"{number}.txt").write_text(line)
    return folder


def test_it_learns_what_is_easy(model: Path) -> None:
    history = json.loads((model / "history.json").read_text())
    found = [epoch["validation_map50"] for epoch in history["epochs"]]
    assert len(found) == 5
    assert max(found) > 0.8
    assert max(found) > found[0] + 0.2
    assert found[history["best_epoch"]] == max(found)
    losses = [epoch["train_loss"] for epoch in history["epochs"]]
    assert losses[-1] < losses[0] / 2


def test_the_device_finds_what_training_never_saw(exported: Path, photos: Path) -> None:
    evaluation = evaluate_detector(Detector(exported), photos)
    assert evaluation.photos == 40
    assert set(evaluation.per_class) == set(CLASSES)
    assert evaluation.map50 > 0.7


def test_the_file_gives_torchs_boxes(exported: Path, model: Path) -> None:
    network, _ = load_saved_detector(model)
    images = [draw(number % 2, 2000 + number)[0] for number in range(8)]
    figures = check_detector(exported, network, images)
    assert figures["boxes"] >= 8
    assert figures["largest_box_difference"] < 0.01
    with torch.no_grad():
        network.get_parameter("model.0.conv.weight").mul_(1.05)
    with pytest.raises(StageError, match="off"):
        check_detector(exported, network, images)


def test_the_file_says_what_it_is(exported: Path) -> None:
    metadata = {prop.key: prop.value for prop in onnx.load(exported).metadata_props}
    assert json.loads(metadata["spinml.classes"]) == CLASSES
    assert metadata["spinml.task"] == "detection"
    assert metadata["spinml.image_px"] == str(SIZE_PX)
    with pytest.raises(ModelFileError, match="not for classification"):
        Predictor(exported)


def test_boxes_are_in_the_photos_pixels(exported: Path) -> None:
    image, mask = draw(1, 3000)
    wide = np.full((SIZE_PX, 2 * SIZE_PX, 3), 110, np.uint8)
    wide[:, SIZE_PX:] = image
    large = wide.repeat(2, axis=0).repeat(2, axis=1)
    found = Detector(exported).detect(large, 0.1)
    wanted = 2 * np.add(box_of(mask), (SIZE_PX, 0, SIZE_PX, 0))
    assert found[0].label == CLASSES[1]
    assert np.abs(np.array(found[0].box) - wanted).max() < 20


def test_measure_draws_boxes_and_tells_map50(model: Path, dataset: Path, tmp_path: Path) -> None:
    made = context(
        tmp_path / "measure",
        StageKind.MEASURE,
        {"model": model, "dataset": dataset},
        settings={"embedder": "home", "max_embeddings": 4},
    )
    assert run_measure(made)["embeddings"] == 4
    figures = json.loads((made.out / "figures.json").read_text())
    best = figures["history"][figures["best_epoch"]]
    assert figures["validation"]["map50"] == pytest.approx(best["validation_map50"], abs=0.02)
    assert set(figures["validation"]["per_class"]) == set(CLASSES)
    sample = (made.out / figures["samples"][0]["file"]).read_bytes()
    assert sample != encode_png(draw(0, 0)[0])


def test_the_bundled_segmenters_weights_compute_the_same(tmp_path: Path) -> None:
    images = np.stack([draw(number % 2, number)[0] for number in range(4)])
    network = load_detector("home", ["bottle", "frame"], images)
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        ours = network.eval()(batch)[0][:, :4].numpy()
    theirs = open_session(bundled_segmenter()).run(["output0"], {"images": batch.numpy()})[0]
    np.testing.assert_allclose(ours, theirs[:, :4], atol=0.01)
    # In training, batch norms divide by the batch's own statistics: they must be those assumed.
    part = network.model[:4]
    with torch.no_grad():
        still = part.eval()(batch)
        moving = part.train()(batch)
    torch.testing.assert_close(moving, still, atol=1e-2, rtol=1e-2)


def test_an_interrupted_training_goes_on_from_its_last_epoch(small: Path, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 3})

    def stop(done: int, total: int, unit: str) -> None:
        if done > total / 3:
            raise StageCancelledError("the run was cancelled")

    kept = Kept(tmp_path / "kept.tar")
    train = context(
        tmp_path / "out", StageKind.TRAIN, {"dataset": small}, settings=settings.model_dump()
    )
    broken = StageContext(train.stage, train.inputs, train.out, train.config, stop, kept)
    with pytest.raises(StageCancelledError):
        run_train_local(broken)
    assert kept.file.exists()

    steps: list[tuple[int, int]] = []
    again = StageContext(
        train.stage,
        train.inputs,
        train.out,
        train.config,
        lambda done, total, unit: steps.append((done, total)),
        kept,
    )
    run_train_local(again)
    history = json.loads((train.out / "history.json").read_text())["epochs"]
    assert [epoch["epoch"] for epoch in history] == [0, 1, 2]
    total = steps[0][1]
    assert steps[0][0] == total // 3 + 1  # the first epoch was not trained again


class Kept:
    """Keeps in a file, as the store does."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def keep(self, file: Path) -> None:
        self.file.write_bytes(file.read_bytes())

    def restore(self, file: Path) -> bool:
        if not self.file.exists():
            return False
        file.write_bytes(self.file.read_bytes())
        return True


@pytest.mark.slow
def test_the_same_seed_trains_the_same_detector(small: Path, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 1})
    first, second, other = (
        fit_detector([small], settings, seed, tmp_path / name).state
        for seed, name in ((3, "a"), (3, "b"), (4, "c"))
    )
    name = "model.0.conv.weight"
    assert torch.equal(first[name], second[name])
    assert not torch.equal(first[name], other[name])


@pytest.mark.slow
def test_frozen_layers_keep_their_weights(small: Path, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 1, "freeze": 10})
    trained = fit_detector([small], settings, 0, tmp_path / "work")
    data = write_detection_data([small], tmp_path / "data", 0.2)
    network = load_detector("home", data.classes, np.zeros((1, SIZE_PX, SIZE_PX, 3), np.uint8))
    start = network.state_dict()
    kept, moved = "model.9.cv2.conv.weight", "model.15.cv1.conv.weight"
    torch.testing.assert_close(trained.state[kept], start[kept], atol=2e-3, rtol=0)  # half
    assert float((trained.state[moved] - start[moved]).abs().max()) > 2e-3


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        ("nowhere.pt", "no such file"),
        ("yolov99n.yaml", "FileNotFoundError"),
        ("broken.pt", "Error"),
    ],
)
def test_weights_that_cannot_be_used(
    weights: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.pt").write_bytes(b"no weights")
    with pytest.raises(ConfigError, match=why) as caught:
        load_detector(weights, CLASSES, np.zeros((1, SIZE_PX, SIZE_PX, 3), np.uint8))
    assert "detection.weights" in caught.value.remedy


def test_weights_of_a_larger_network_do_not_fill_this_one(tmp_path: Path) -> None:
    source = load_detector("yolov8n.yaml", ["x"], np.zeros((0,), np.uint8))
    other = load_detector("yolov8s.yaml", CLASSES, np.zeros((0,), np.uint8))
    path = tmp_path / "s.pt"
    other.yaml = source.yaml  # says nano, holds small
    torch.save({"model": other, "train_args": {}}, path)
    with pytest.raises(ConfigError, match=r"fill \d+% of the network"):
        load_detector(str(path), CLASSES, np.zeros((0,), np.uint8))


@pytest.mark.parametrize("weights", ["yolov8n.pt", "own.pt"])
def test_an_ultralytics_file_starts_a_network_of_other_classes(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = load_detector("yolov8n.yaml", ["x"], np.zeros((0,), np.uint8))
    # One that was downloaded before, and one's own.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    path = {"yolov8n.pt": tmp_path / "spinml" / "yolov8n.pt"}.get(weights, tmp_path / weights)
    path.parent.mkdir(exist_ok=True)
    torch.save({"model": source, "train_args": {}}, path)
    network = load_detector(weights, CLASSES, np.zeros((0,), np.uint8))
    name = "model.9.cv2.conv.weight"
    assert torch.equal(network.get_parameter(name), source.get_parameter(name))
    assert network.get_parameter("model.22.cv3.0.2.weight").shape[0] == len(CLASSES)


class Trap(torch.nn.Module):
    """A network whose pickle runs something."""

    def __init__(self, mark: Path) -> None:
        super().__init__()
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_a_file_of_ultralytics_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hostile.pt"
    torch.save({"model": Trap(tmp_path / "ran"), "train_args": {}}, path)
    with pytest.raises(ConfigError, match=r"hostile\.pt cannot start the detector"):
        load_detector(str(path), CLASSES, np.zeros((0,), np.uint8))
    assert not (tmp_path / "ran").exists()


def test_no_images_to_validate_on(small: Path, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="0 for val"):
        write_detection_data([small], tmp_path / "data", 1e-9)


def test_a_damaged_model_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text((model / "model.json").read_text())
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ArtifactError, match="detector cannot be loaded"):
        load_saved_detector(tmp_path)
