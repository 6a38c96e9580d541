from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from spinml.config import ServerConfig
from spinml.errors import GenerationError
from spinml.pipeline.stages import Stage, StageContext, StageKind
from spinml.synthesis.checkpoint import Checkpoint
from spinml.synthesis.dataset import (
    ShardDataset,
    decode_image,
    decode_mask,
    export_image_folder,
    export_yolo,
)
from spinml.synthesis.generate import Generator, run_generate_local
from spinml.synthesis.identity import checkpoint_identity
from spinml.synthesis.shards import plan_shards

LABELS = ["eating", "sitting / lying"]


def _stage(config: ServerConfig, **settings: Any) -> Stage:
    generation = config.generation.model_dump() | settings
    return Stage(
        StageKind.GENERATE,
        {
            "checkpoint": checkpoint_identity(config.checkpoint),
            "resolution_px": 64,
            "dtype": "float32",
            "target_object": "dog",
            "background": "bedroom",
            "label_classes": LABELS,
            "images_per_class": 6,
            "seed": 3,
            "prompts": config.prompts.model_dump(),
            "settings": generation,
        },
    )


@pytest.fixture(scope="module")
def dataset(config: ServerConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dataset")
    run_generate_local(StageContext(_stage(config), {}, out, config))
    return out


def test_shards_are_planned_by_the_parameters_alone(config: ServerConfig) -> None:
    shards = plan_shards(_stage(config).params)
    assert shards == plan_shards(_stage(config).params)
    assert [len(shard.images) for shard in shards] == [8, 4]
    images = [image for shard in shards for image in shard.images]
    assert len({image.seed for image in images}) == 12
    assert sum(image.label == 0 for image in images) == 6


def test_a_dataset_has_every_column_and_agrees_with_itself(dataset: Path) -> None:
    rows = list(ShardDataset(dataset).rows())
    assert len(rows) == 12
    for row in rows:
        image, mask = decode_image(row["image"]), decode_mask(row["mask"])
        x0, y0, x1, y1 = row["box"]
        assert image.shape == (64, 64, 3)
        assert mask[y0:y1, x0:x1].sum() == mask.sum() > 0
        assert LABELS[row["label"]] == row["label_name"]
        assert row["prompt"] == f"a dog is {row['label_name']}, plain background"
        assert row["target_model"].startswith("base:")
    features = json.loads(pq.read_schema(dataset / "shard-00000.parquet").metadata[b"huggingface"])
    assert features["info"]["features"]["label"]["names"] == LABELS


def test_card_and_figures_tell_what_was_made(dataset: Path) -> None:
    figures = json.loads((dataset / "dataset.json").read_text())
    assert figures["images"] == sum(figures["counts"].values()) == 12
    assert figures["shards"] == 2
    card = (dataset / "README.md").read_text()
    header = yaml.safe_load(card.split("---")[1])
    assert header["configs"][0]["data_files"] == "shard-*.parquet"
    assert "sitting / lying" in card


def test_the_same_stage_gives_the_same_dataset(
    dataset: Path, config: ServerConfig, tmp_path: Path
) -> None:
    run_generate_local(StageContext(_stage(config), {}, tmp_path, config))
    first, again = ShardDataset(dataset), ShardDataset(tmp_path)
    assert all(first.row(i) == again.row(i) for i in range(len(first)))


def test_a_shard_does_not_depend_on_the_others(
    dataset: Path, config: ServerConfig, checkpoint: Checkpoint
) -> None:
    stage = _stage(config)
    table = Generator(checkpoint, stage, {}).generate_shard(plan_shards(stage.params)[1])
    assert table["seed"].to_pylist() == [ShardDataset(dataset).row(i)["seed"] for i in range(8, 12)]
    assert table["image"].to_pylist()[0] == ShardDataset(dataset).row(8)["image"]


def test_objects_that_stay_broken_end_the_stage(
    config: ServerConfig, checkpoint: Checkpoint
) -> None:
    strict = config.generation.cutout.model_dump() | {"ground_tolerance": 0}
    stage = _stage(config, cutout=strict, max_draws=2)
    with pytest.raises(GenerationError) as caught:
        Generator(checkpoint, stage, {}).generate_shard(plan_shards(stage.params)[0])
    assert caught.value.details["rejected"]["ground"] > 8


def test_what_the_text_image_encoder_does_not_see_is_drawn_again(
    config: ServerConfig, checkpoint: Checkpoint
) -> None:
    stage = _stage(config, min_label_probability=1.0, max_draws=1)
    with pytest.raises(GenerationError) as caught:
        Generator(checkpoint, stage, {}).generate_shard(plan_shards(stage.params)[0])
    assert set(caught.value.details["rejected"]) == {"label"}


def test_exports_have_the_layouts_that_others_read(dataset: Path, tmp_path: Path) -> None:
    export_image_folder(dataset, tmp_path / "folder")
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == [
        "eating",
        "sitting _ lying",
    ]
    export_yolo(dataset, tmp_path / "yolo")
    description = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text())
    assert description["names"] == dict(enumerate(LABELS))
    files = list((tmp_path / "yolo" / "labels").rglob("*.txt"))
    assert len(files) == 12
    values = np.array([float(value) for value in files[0].read_text().split()[1:]])
    assert ((values > 0) & (values <= 1)).all()


def _detection_stage(config: ServerConfig, **settings: Any) -> Stage:
    params = {**_stage(config, **settings).params, "task": "detection", "label_classes": ["dog"]}
    return Stage(StageKind.GENERATE, params)


def test_a_detectors_objects_are_drawn_in_no_state(
    config: ServerConfig, checkpoint: Checkpoint
) -> None:
    stage = _detection_stage(config)
    (shard,) = plan_shards(stage.params)
    table = Generator(checkpoint, stage, {}).generate_shard(shard)
    assert table["prompt"].to_pylist() == ["a dog, plain background"] * 6
    assert table["label_name"].to_pylist() == ["dog"] * 6
    tuned = Generator(checkpoint, stage, {})._object_prompts(tuned=True)
    assert tuned == ["a xyz dog, plain background"]


def test_a_detectors_objects_are_checked_against_the_negatives(
    config: ServerConfig, checkpoint: Checkpoint
) -> None:
    image = np.full((64, 64, 3), (200, 90, 40), np.uint8)
    asked = ["a dog, plain background", *config.generation.negatives]
    encoder = checkpoint.text_image
    assert encoder is not None
    probability = float(encoder.guess([image], asked)[0][0])
    for least, agrees in ((probability - 1e-3, True), (probability + 1e-3, False)):
        stage = _detection_stage(config, min_label_probability=least)
        assert Generator(checkpoint, stage, {})._labels_agree([image], [0]) == [agrees]
