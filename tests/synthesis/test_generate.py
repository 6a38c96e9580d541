from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from spinml.config import GenerationConfig, PromptConfig, ServerConfig
from spinml.errors import ArtifactError, GenerationError
from spinml.pipeline.planner import objects_role
from spinml.pipeline.stages import Stage, StageContext, StageKind
from spinml.preference import OBJECT_SEGMENTS
from spinml.synthesis.checkpoint import Checkpoint
from spinml.synthesis.compose import arrange
from spinml.synthesis.dataset import (
    ShardDataset,
    dataset_folders,
    decode_image,
    decode_mask,
    export_image_folder,
    export_yolo,
)
from spinml.synthesis.draw import Drawer, run_draw_local
from spinml.synthesis.generate import Generator, Ingredients, Tally, run_generate_local
from spinml.synthesis.identity import checkpoint_identity
from spinml.synthesis.objects import DrawnObject, read_objects, summarise_objects
from spinml.synthesis.prompts import Prompts
from spinml.synthesis.seeds import derive_seed
from spinml.synthesis.shards import plan_shards
from spinml.synthesis.subjects import Subject, load_subject

LABELS = ["eating", "sitting / lying"]


def _stage(config: ServerConfig, **settings: Any) -> Stage:
    generation = config.generation.model_dump() | settings
    return Stage(
        StageKind.GENERATE,
        {
            "checkpoint": checkpoint_identity(config.checkpoint),
            "resolution_px": 64,
            "dtype": "float32",
            "target_objects": ["dog"],
            "background": "bedroom",
            "label_classes": LABELS,
            "images": 12,
            "seed": 3,
            "prompts": config.prompts.model_dump(),
            "settings": generation,
        },
    )


def _drawing(dataset: Stage, number: int = 0) -> Stage:
    """The stage that draws one of a dataset's objects."""
    params = dict(dataset.params)
    objects = params.pop("target_objects")
    labels = params["label_classes"] if number == 0 and not dataset.detects else []
    own = {"segment": OBJECT_SEGMENTS[number], "words": objects[number], "label_classes": labels}
    return Stage(StageKind.DRAW, params | own)


def _draw(stage: Stage, folder: Path, config: ServerConfig) -> dict[str, Path]:
    """The inputs of a GENERATE stage: all of its objects, drawn by the base model."""
    inputs = {}
    for number in range(len(stage.params["target_objects"])):
        role = objects_role(OBJECT_SEGMENTS[number])
        inputs[role] = folder / role
        inputs[role].mkdir(parents=True)
        run_draw_local(StageContext(_drawing(stage, number), {}, inputs[role], config))
    return inputs


@pytest.fixture(scope="module")
def drawn(config: ServerConfig, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return _draw(_stage(config), tmp_path_factory.mktemp("drawn"), config)


@pytest.fixture(scope="module")
def dataset(
    config: ServerConfig, drawn: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("dataset")
    run_generate_local(StageContext(_stage(config), drawn, out, config))
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
        image, mask = decode_image(row["image"]), decode_mask(row["masks"][0])
        x0, y0, x1, y1 = map(int, row["boxes"][0])
        assert image.shape == (64, 64, 3)
        assert mask[y0:y1, x0:x1].sum() == mask.sum() > 0
        assert LABELS[row["label"]] == row["label_name"]
        assert row["prompts"] == [f"a dog is {row['label_name']}, plain background"]
        assert row["target_models"][0].startswith("base:")
    features = json.loads(pq.read_schema(dataset / "shard-00000.parquet").metadata[b"huggingface"])
    assert features["info"]["features"]["label"]["names"] == LABELS


def test_larger_images_keep_the_detail_of_their_objects(
    config: ServerConfig, drawn: dict[str, Path], tmp_path: Path
) -> None:
    stage = _stage(config, image_px=160)
    run_generate_local(StageContext(stage, drawn, tmp_path, config))
    shard = plan_shards(stage.params)[0]
    objects = read_objects(drawn["target_objects"], shard)
    wanted = [
        arrange([one.cut_out], 160, config.generation.scale_range, derive_seed(one.seed, "place"))
        for one in objects
        if one.cut_out is not None
    ]
    for row, scene in zip(ShardDataset(tmp_path).rows(), wanted, strict=False):
        assert scene is not None
        image, mask = decode_image(row["image"]), decode_mask(row["masks"][0])
        assert image.shape == (160, 160, 3)
        assert (mask == scene.masks[0]).all()
        assert row["boxes"][0] == list(scene.boxes[0])
        whole = scene.whole.alpha == 1
        assert whole.any()
        assert (image[whole] == scene.whole.colours[whole]).all()
    assert "- Resolution: 160 px." in (tmp_path / "README.md").read_text()


def test_card_and_figures_tell_what_was_made(dataset: Path) -> None:
    figures = json.loads((dataset / "dataset.json").read_text())
    assert figures["images"] == sum(figures["counts"].values()) == 12
    assert figures["shards"] == 2
    card = (dataset / "README.md").read_text()
    header = yaml.safe_load(card.split("---")[1])
    assert header["configs"][0]["data_files"] == "shard-*.parquet"
    assert "sitting / lying" in card


def test_the_same_stages_give_the_same_dataset(
    dataset: Path, config: ServerConfig, tmp_path: Path
) -> None:
    again = _draw(_stage(config), tmp_path / "drawn", config)
    out = tmp_path / "dataset"
    out.mkdir()
    run_generate_local(StageContext(_stage(config), again, out, config))
    assert list(ShardDataset(dataset).rows()) == list(ShardDataset(out).rows())


def test_a_shard_does_not_depend_on_the_others(
    dataset: Path, drawn: dict[str, Path], config: ServerConfig, checkpoint: Checkpoint
) -> None:
    stage = _stage(config)
    spec = plan_shards(stage.params)[1]
    table = Generator(checkpoint, stage, drawn).make_shard(spec)
    assert table["seed"].to_pylist() == [ShardDataset(dataset).row(i)["seed"] for i in range(8, 12)]
    assert table["image"].to_pylist()[0] == ShardDataset(dataset).row(8)["image"]
    objects = Drawer(checkpoint, _drawing(stage), {}).make_shard(spec)
    assert objects.equals(pq.read_table(drawn["target_objects"] / spec.file_name))


def test_drawn_objects_are_read_as_they_were_cut_out(
    drawn: dict[str, Path], config: ServerConfig
) -> None:
    shards = plan_shards(_stage(config).params)
    objects = [one for spec in shards for one in read_objects(drawn["target_objects"], spec)]
    assert [one.seed for one in objects] == [image.seed for spec in shards for image in spec.images]
    for one in objects:
        assert one.cut_out is not None
        assert one.cut_out.image.shape == (64, 64, 3)
        assert one.cut_out.mask.any()
        assert 0 <= one.cut_out.alpha.min() <= one.cut_out.alpha.max() <= 1
    figures = summarise_objects(drawn["target_objects"])
    assert (figures["objects"], figures["missing"]) == (12, 0)
    assert figures["draws"] == sum(one.draws for one in objects)
    assert figures["model"].startswith("base:")


def test_objects_of_other_images_are_refused(
    drawn: dict[str, Path], config: ServerConfig, checkpoint: Checkpoint
) -> None:
    stage = _stage(config)
    other = Stage(stage.kind, {**stage.params, "seed": 4})
    with pytest.raises(ArtifactError, match="other seeds"):
        Generator(checkpoint, other, drawn).make_shard(plan_shards(other.params)[0])


def test_objects_that_stay_broken_end_the_stage(
    config: ServerConfig, checkpoint: Checkpoint
) -> None:
    strict = config.generation.cutout.model_dump() | {"ground_tolerance": 0}
    stage = _drawing(_stage(config, cutout=strict, max_draws=2))
    with pytest.raises(GenerationError) as caught:
        Drawer(checkpoint, stage, {}).make_shard(plan_shards(stage.params)[0])
    assert caught.value.details["rejected"]["ground"] > 8


def test_what_the_text_image_encoder_does_not_see_is_drawn_again(
    config: ServerConfig, checkpoint: Checkpoint
) -> None:
    stage = _drawing(_stage(config, min_label_probability=1.0, max_draws=1))
    with pytest.raises(GenerationError) as caught:
        Drawer(checkpoint, stage, {}).make_shard(plan_shards(stage.params)[0])
    assert set(caught.value.details["rejected"]) == {"label"}


def test_exports_have_the_layouts_that_others_read(dataset: Path, tmp_path: Path) -> None:
    export_image_folder(dataset, tmp_path / "folder")
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == [
        "eating",
        "sitting _ lying",
    ]
    export_yolo(dataset, tmp_path / "yolo")
    description = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text())
    assert description["names"] == {0: "dog"}
    files = list((tmp_path / "yolo" / "labels").rglob("*.txt"))
    assert len(files) == 12
    values = np.array([float(value) for value in files[0].read_text().split()[1:]])
    assert ((values > 0) & (values <= 1)).all()


def _two(config: ServerConfig, **settings: Any) -> Stage:
    stage = _stage(config, **settings)
    return Stage(stage.kind, {**stage.params, "target_objects": ["dog", "photo frame"]})


@pytest.fixture(scope="module")
def two_objects(config: ServerConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, stage = tmp_path_factory.mktemp("two"), _two(config)
    out = folder / "dataset"
    out.mkdir()
    run_generate_local(StageContext(stage, _draw(stage, folder, config), out, config))
    return out


def test_every_image_has_a_box_and_a_mask_of_each_object(two_objects: Path) -> None:
    dataset = ShardDataset(two_objects)
    assert dataset.objects == ["dog", "photo frame"]
    assert dataset.classes == LABELS
    for row in dataset.rows():
        assert row["box_labels"] == [0, 1]
        masks = [decode_mask(cell) for cell in row["masks"]]
        assert not (masks[0] & masks[1]).any()
        for mask, box in zip(masks, row["boxes"], strict=True):
            x0, y0, x1, y1 = map(int, box)
            assert mask[y0:y1, x0:x1].sum() == mask.sum() > 0
        assert row["prompts"] == [
            f"a dog is {row['label_name']}, plain background",
            "a photo frame, plain background",
        ]
        assert row["draws"] >= 2
    card = (two_objects / "README.md").read_text()
    assert "photo frame by `base:" in card


def test_the_first_object_is_drawn_as_without_the_others(config: ServerConfig) -> None:
    alone, first = _drawing(_stage(config)), _drawing(_two(config))
    assert alone.digest == first.digest


def test_an_image_whose_object_stays_broken_is_left_out(
    drawn: dict[str, Path], config: ServerConfig, checkpoint: Checkpoint
) -> None:
    stage = _stage(config)
    generator, spec = Generator(checkpoint, stage, drawn), plan_shards(stage.params)[0]
    objects = read_objects(drawn["target_objects"], spec)
    broken = DrawnObject("a photo frame", seed=0)

    def images(missing: int) -> list[Ingredients]:
        return [
            Ingredients(image, (one, broken if number < missing else one))
            for number, (image, one) in enumerate(zip(spec.images, objects, strict=True))
        ]

    assert len(generator._arrange(spec, images(0), Tally())) == 8
    assert len(generator._arrange(spec, images(1), Tally())) == 7
    with pytest.raises(GenerationError, match="5 of 8 images lack a whole object"):
        generator._arrange(spec, images(5), Tally())


def test_an_object_without_a_status_is_seen_or_not(checkpoint: Checkpoint) -> None:
    """Its plain prompt against the negatives alone: labels of the image play no part."""
    prompts = Prompts(PromptConfig())
    subject = Subject("target_2", "photo frame", (), None, False, prompts)
    assert subject.prompt(0) == subject.prompt(5) == "a photo frame, plain background"
    images = [np.full((64, 64, 3), level, np.uint8) for level in (10, 90, 240)]
    encoder = checkpoint.text_image
    assert encoder is not None
    settings = GenerationConfig(min_label_probability=0.5, negatives=("nothing",))
    chances = encoder.guess(images, ["a photo frame, plain background", "nothing"])[:, 0]
    assert subject.agrees(checkpoint, settings, images, [0, 5, 1]) == list(chances >= 0.5)


def test_yolo_has_a_line_for_each_object_and_takes_mixtures(
    two_objects: Path, tmp_path: Path
) -> None:
    export_yolo(two_objects, tmp_path, more=[two_objects])
    description = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert description["names"] == {0: "dog", 1: "photo frame"}
    files = sorted((tmp_path / "labels").rglob("*.txt"))
    assert len(files) == 2 * 12
    rows = list(ShardDataset(two_objects).rows())
    by_number = {int(path.stem): path.read_text().splitlines() for path in files}
    for number, lines in by_number.items():
        x0, y0, x1, y1 = rows[number % 12]["boxes"][1]
        assert [line.split()[0] for line in lines] == ["0", "1"]
        wanted = [(x0 + x1) / 128, (y0 + y1) / 128, (x1 - x0) / 64, (y1 - y0) / 64]
        assert [float(value) for value in lines[1].split()[1:]] == pytest.approx(wanted, abs=1e-5)


def test_a_mixture_is_read_one_dataset_after_the_other(dataset: Path, two_objects: Path) -> None:
    mixed = ShardDataset(dataset, two_objects)
    assert len(mixed) == 24
    assert mixed.row(3) == ShardDataset(dataset).row(3)
    assert mixed.row(12 + 9) == ShardDataset(two_objects).row(9)
    folders = {
        "dataset_10": Path("j"),
        "model": Path("m"),
        "dataset_2": Path("b"),
        "dataset": dataset,
    }
    assert dataset_folders(folders) == [dataset, Path("b"), Path("j")]


def _detection(stage: Stage) -> Stage:
    return Stage(stage.kind, {**stage.params, "task": "detection", "label_classes": ["dog"]})


def test_a_detectors_objects_are_drawn_in_no_state(
    config: ServerConfig, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    stage = _detection(_two(config))
    (spec, _) = plan_shards(stage.params)
    table = Generator(checkpoint, stage, _draw(stage, tmp_path, config)).make_shard(spec)
    plain = ["a dog, plain background", "a photo frame, plain background"]
    assert table["prompts"].to_pylist() == [plain] * 8
    assert table["label_name"].to_pylist() == ["dog"] * 8
    assert table["box_labels"].to_pylist() == [[0, 1]] * 8


def test_a_detectors_objects_are_checked_against_the_negatives(
    config: ServerConfig, checkpoint: Checkpoint
) -> None:
    image = np.full((64, 64, 3), (200, 90, 40), np.uint8)
    asked = ["a dog, plain background", *config.generation.negatives]
    encoder = checkpoint.text_image
    assert encoder is not None
    probability = float(encoder.guess([image], asked)[0][0])
    subject = load_subject(checkpoint, _drawing(_detection(_stage(config))), {})
    for least, agrees in ((probability - 1e-3, True), (probability + 1e-3, False)):
        settings = config.generation.model_copy(update={"min_label_probability": least})
        assert subject.agrees(checkpoint, settings, [image], [0]) == [agrees]
