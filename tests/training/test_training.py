"""TRAIN → EXPORT → MEASURE on a small dataset, with the real pretrained backbone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

from spinml.config import ServerConfig
from spinml.errors import ArtifactError, ConfigError, StageError
from spinml.pipeline.stages import Stage, StageContext, StageKind
from spinml.synthesis.dataset import ShardDataset
from spinml.synthesis.text_image import TextImageEncoder
from spinml.training.backbones import empty_backbone, load_backbone
from spinml.training.classifier import Epoch, Hooks, fit
from spinml.training.data import (
    Augmented,
    Images,
    batch_size_for,
    load_images,
    stratified_split,
    training_loader,
)
from spinml.training.embedders import load_embedder
from spinml.training.evaluate import evaluate
from spinml.training.export import check_onnx
from spinml.training.measure import embed_dataset, split_segments
from spinml.training.model import load_classifier
from spinml.training.stages import run_export, run_measure, run_train_local
from tests.synthesis.tiny import make_tiny_checkpoint, tiny_config
from tests.training.conftest import CLASSES, SIZE_PX


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ServerConfig:
    return tiny_config(make_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint")))


def _context(
    kind: StageKind, config: ServerConfig, out: Path, inputs: dict[str, Path]
) -> StageContext:
    settings = config.measure if kind is StageKind.MEASURE else config.training
    params: dict[str, Any] = {"seed": 0, "settings": settings.model_dump()}
    return StageContext(Stage(kind, params), inputs, out, config)


@pytest.fixture(scope="module")
def model_folder(
    config: ServerConfig, dataset_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("model")
    run_train_local(_context(StageKind.TRAIN, config, out, {"dataset": dataset_folder}))
    return out


@pytest.fixture(scope="module")
def export_folder(
    config: ServerConfig,
    dataset_folder: Path,
    model_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    out = tmp_path_factory.mktemp("export")
    inputs = {"dataset": dataset_folder, "model": model_folder}
    run_export(_context(StageKind.EXPORT, config, out, inputs))
    return out


def test_a_few_steps_learn_what_there_is_to_learn(model_folder: Path) -> None:
    history = json.loads((model_folder / "history.json").read_text())
    assert len(history["epochs"]) == 2
    best = max(epoch["validation_accuracy"] for epoch in history["epochs"])
    assert history["epochs"][history["best_epoch"]]["validation_accuracy"] == best > 0.8


def test_the_same_seed_trains_the_same_model(config: ServerConfig, dataset_folder: Path) -> None:
    settings = config.training.model_copy(update={"epochs": 1, "frozen_share": 1.0})
    dataset = ShardDataset(dataset_folder)
    first, again = (fit(dataset, settings, 7) for _ in range(2))
    assert all(torch.equal(first.state[name], again.state[name]) for name in first.state)


def test_a_frozen_backbone_stays_as_it_was(config: ServerConfig, dataset_folder: Path) -> None:
    settings = config.training.model_copy(update={"epochs": 1, "frozen_share": 1.0})
    state = fit(ShardDataset(dataset_folder), settings, 0).state
    fresh = load_backbone("efficientnet_lite0", None).module.state_dict()
    assert all(torch.equal(state[f"backbone.{name}"], value) for name, value in fresh.items())


def test_the_first_blocks_stay_and_the_others_learn(
    config: ServerConfig, dataset_folder: Path
) -> None:
    settings = config.training.model_copy(update={"epochs": 1, "frozen_share": 0.33})
    state = fit(ShardDataset(dataset_folder), settings, 0).state
    fresh = load_backbone("efficientnet_lite0", None).module.state_dict()
    first, last = "net._blocks.4.", "net._blocks.5."
    changed = {
        name for name, value in fresh.items() if not torch.equal(state[f"backbone.{name}"], value)
    }
    assert not any(name.startswith((first, "net._conv_stem", "net._bn0")) for name in changed)
    assert any(name.startswith(last) and "running_mean" in name for name in changed)
    assert any(name.startswith(last) and "conv.weight" in name for name in changed)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "mobilenet_v2"])
def test_a_backbones_blocks_hold_all_its_weights(name: str) -> None:
    backbone = empty_backbone(name)
    held = [id(w) for block in backbone.blocks for part in block for w in part.parameters()]
    assert sorted(held) == sorted(id(weight) for weight in backbone.module.parameters())


def test_a_distributed_trainer_can_step_in(config: ServerConfig, dataset_folder: Path) -> None:
    seen: list[Any] = []
    epochs: list[Epoch] = []

    def keep(thing: Any) -> Any:
        seen.append(thing)
        return thing

    settings = config.training.model_copy(update={"epochs": 1, "frozen_share": 1.0})
    hooks = Hooks(
        prepare_model=keep,
        prepare_loader=keep,
        report=epochs.append,
        progress=lambda done, total, unit: seen.append((done, total)),
    )
    fit(ShardDataset(dataset_folder), settings, 0, hooks)
    assert isinstance(seen[1], torch.nn.Module) or isinstance(seen[0], torch.nn.Module)
    assert seen[-1][0] == seen[-1][1]
    assert [epoch.epoch for epoch in epochs] == [0]


def test_split_is_stratified_and_fixed_by_the_seed() -> None:
    labels, seeds = [0] * 10 + [1] * 20, list(range(30))
    training, validation = stratified_split(labels, seeds, 0.2, 1)
    assert sorted(training + validation) == list(range(30))
    assert sum(index < 10 for index in validation) == 2
    assert (training, validation) == stratified_split(labels, seeds, 0.2, 1)
    with pytest.raises(StageError, match="class 1 has 1 image"):
        stratified_split([0, 0, 1], [0, 1, 2], 0.2, 1)


def test_images_of_one_seed_in_a_mixture_stay_on_one_side() -> None:
    labels, seeds = [0] * 10 + [1] * 10, list(range(20))
    training, validation = stratified_split(labels * 2, seeds * 2, 0.2, 1)
    assert len(validation) == 2 * len(stratified_split(labels, seeds, 0.2, 1)[1])
    of_training = {(seeds * 2)[index] for index in training}
    assert not of_training & {(seeds * 2)[index] for index in validation}


def test_workers_share_a_batch_in_an_order_of_the_runs_seed() -> None:
    images = Images(torch.zeros(240, 3, 8, 8, dtype=torch.uint8), torch.arange(240))

    def order(seed: int, **share: int) -> list[list[int]]:
        loader = training_loader(images, 8, 20, seed, **share)
        return [labels.tolist() for _, labels in loader]

    alone = order(0)
    parts = [order(0, rank=rank, workers=2) for rank in range(2)]
    assert len(parts[0]) == len(parts[1]) == len(alone) == 12
    assert {len(batch) for part in parts for batch in part} == {10}
    flat = sorted(label for part in parts for batch in part for label in batch)
    assert flat == list(range(240))
    assert order(1, rank=0, workers=2) != parts[0]


@pytest.mark.parametrize(
    ("images", "wanted", "size"), [(1280, 128, 106), (2000, 128, 128), (384, 128, 32), (6, 128, 6)]
)
def test_small_datasets_get_small_batches(images: int, wanted: int, size: int) -> None:
    assert batch_size_for(images, wanted) == size


def test_augmentation_keeps_form_and_range(dataset_folder: Path) -> None:
    images = load_images(ShardDataset(dataset_folder), 48)
    assert images.pixels.shape == (48, 3, 48, 48)
    augmented = Augmented(images, 48)
    pixels = torch.stack([augmented[index][0] for index in range(8)])
    assert pixels.dtype is torch.float32
    assert pixels.min() >= 0
    assert pixels.max() <= 1


def test_confusion_counts_every_image(model_folder: Path, dataset_folder: Path) -> None:
    classifier, description = load_classifier(model_folder)
    images = load_images(ShardDataset(dataset_folder), description.image_px)
    found = evaluate(classifier, images, torch.device("cpu"))
    assert sum(map(sum, found.confusion)) == 48
    right = found.confusion[0][0] + found.confusion[1][1]
    assert found.accuracy == pytest.approx(right / 48)


def test_the_file_takes_raw_images_and_names_its_classes(
    export_folder: Path, dataset_folder: Path
) -> None:
    session = onnxruntime.InferenceSession(str(export_folder / "model.onnx"))
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["spinml.classes"]) == CLASSES
    assert metadata["spinml.image_px"] == str(SIZE_PX)
    assert metadata["spinml.task"] == "classification"
    image, label = ShardDataset(dataset_folder)[0]
    for count in (1, 5):
        (found,) = session.run(["probabilities"], {"image": np.stack([image] * count)})
        assert found.shape == (count, 2)
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert found[0].argmax() == label


def test_a_file_that_disagrees_with_torch_is_refused(
    export_folder: Path, model_folder: Path, dataset_folder: Path, tmp_path: Path
) -> None:
    model = onnx.load(export_folder / "model.onnx")
    weights = next(part for part in model.graph.initializer if "classifier.head" in part.name)
    changed = onnx.numpy_helper.to_array(weights) + np.arange(2, dtype=np.float32).reshape(
        (-1, 1) if len(weights.dims) == 2 else (-1,)
    )
    weights.CopyFrom(onnx.numpy_helper.from_array(changed, weights.name))
    onnx.save_model(model, tmp_path / "changed.onnx")
    classifier, _ = load_classifier(model_folder)
    images = np.stack([ShardDataset(dataset_folder)[index][0] for index in range(4)])
    with pytest.raises(StageError, match="off, at most"):
        check_onnx(tmp_path / "changed.onnx", classifier, images)


def test_measure_writes_embeddings_figures_and_samples(
    config: ServerConfig, dataset_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    inputs = {"dataset": dataset_folder, "model": model_folder}
    run_measure(_context(StageKind.MEASURE, config, tmp_path, inputs))
    with np.load(tmp_path / "embeddings.npz") as arrays:
        assert arrays["target"].shape == arrays["background"].shape == (48, 8)
        np.testing.assert_allclose(np.linalg.norm(arrays["target"], axis=1), 1, atol=1e-4)
        assert arrays["index"].tolist() == list(range(48))
        prompts = [arrays[name] for name in ("prompt_target", "prompt_background", "empty_prompt")]
    encoder = TextImageEncoder.load(Path(config.checkpoint.base) / "text_image")
    for found, texts in zip(prompts, (["a bar", "a disc"], ["noise"], [""]), strict=True):
        np.testing.assert_allclose(found, encoder.encode_texts(texts), atol=1e-5)
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["datasets"][0]["rejected"] == {"empty": 2}
    assert sum(map(sum, figures["validation"]["confusion"])) == 10
    assert all((tmp_path / sample["file"]).is_file() for sample in figures["samples"])
    assert {sample["label"] for sample in figures["samples"]} == set(CLASSES)


def test_places_of_the_embedded_images(config: ServerConfig, dataset_folder: Path) -> None:
    arrays = embed_dataset(ShardDataset(dataset_folder), load_embedder(config), 5)
    assert arrays["index"].tolist() == [0, 12, 24, 35, 47]
    assert len(arrays["target"]) == 5


def test_an_embedder_without_text_tower_gives_no_prompts(
    config: ServerConfig, dataset_folder: Path, tmp_path: Path
) -> None:
    source = Path(config.checkpoint.base) / "text_image" / "embedder.onnx"
    (tmp_path / "text_image").mkdir()
    (tmp_path / "text_image" / "embedder.onnx").write_bytes(source.read_bytes())
    checkpoint = config.checkpoint.model_copy(update={"base": str(tmp_path)})
    embedder = load_embedder(config.model_copy(update={"checkpoint": checkpoint}))
    assert embedder.texts is None
    arrays = embed_dataset(ShardDataset(dataset_folder), embedder, 5)
    assert set(arrays) == {"target", "background", "index"}


def test_segments_do_not_share_pixels() -> None:
    image = np.full((32, 32, 3), 10, np.uint8)
    mask = np.zeros((32, 32), bool)
    mask[8:24, 8:24] = True
    image[mask] = 90
    segments = split_segments(image, [mask])
    assert segments["background"].max() < 20
    assert 10 not in segments["target"]
    assert segments["target"][16, 16, 0] == 90


def test_no_backbone_is_trained_from_noise(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="use one of efficientnet_lite0, mobilenet_v2"):
        load_backbone("resnet50", None)
    with pytest.raises(ConfigError, match="cannot be had"):
        load_backbone("mobilenet_v2", str(tmp_path / "none.safetensors"))
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ConfigError, match="another model"):
        load_backbone("mobilenet_v2", str(tmp_path / "other.safetensors"))


def test_mobilenet_takes_a_local_state(tmp_path: Path) -> None:
    from torchvision.models import mobilenet_v2

    state = mobilenet_v2(weights=None).state_dict()
    save_file(state, tmp_path / "mobilenet.safetensors")
    backbone = load_backbone("mobilenet_v2", str(tmp_path / "mobilenet.safetensors"))
    assert backbone.module(torch.zeros(1, 3, 64, 64)).shape == (1, backbone.width)


def test_a_damaged_model_is_an_artifact_error(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text((model_folder / "model.json").read_text())
    (tmp_path / "model.safetensors").write_bytes(b"short")
    with pytest.raises(ArtifactError, match="cannot be loaded"):
        load_classifier(tmp_path)
