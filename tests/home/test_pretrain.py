"""Each stage at tiny sizes: it runs, resumes to the same result, and packages into real classes."""

from __future__ import annotations

import json
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import typer
from diffusers import ControlNetModel, StableDiffusionPipeline, UNet2DConditionModel

from spinml.device.bundled import bundled_segmenter
from spinml.home import fused_yolo
from spinml.home.pretrain import (
    controlnet,
    inpaint,
    judge,
    latents,
    package,
    renders,
    segmenter,
    text_image,
    tower,
    unet,
    vae,
)
from spinml.home.pretrain.loop import LoopSettings, train
from spinml.home.pretrain.stages import MINUTES, run_stage
from spinml.home.pretrain.workspace import Workspace
from spinml.synthesis.text_image import TextImageEncoder

from .pretrain_data import write_shards

VAE = vae.VaeSettings(channels=(8, 8, 16, 16), latent_channels=4, batch=2, crop_px=32)
WORDS = text_image.TextImageSettings(
    width=32, heads=2, joint=16, tower=(8, 8, 8, 8), merges=40, variants=2, batch=8
)
UNET = unet.UNetSettings(
    channels=(16, 16), heads=2, groups=8, batch=4, variants=2, judged=10, sample_steps=2
)
INPAINT = inpaint.InpaintSettings(scenes=4, pasted=4, boxes=2, batch=4, variants=2, sample_steps=2)
CONTROL = controlnet.ControlNetSettings(
    embedding=(4, 4, 4, 4), batch=2, variants=2, shown=4, sample_steps=2
)
FEATURES = ("canny", "pose", "box")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Stages `vae` to `controlnet_box`, two steps each, on random renders."""
    folder = tmp_path_factory.mktemp("pretrain")
    write_shards(folder / "public", shards=2, scenes=4)
    write_shards(folder / "heldout", shards=1, scenes=4, seed=1)
    data = Workspace(folder / "public", folder / "heldout", folder / "out")
    loop = LoopSettings(steps=2)
    vae.run(data, loop, VAE)
    text_image.run(data, loop, WORDS)
    judge.run(data, loop, judge.JudgeSettings(batch=4))
    latents.run(data, loop)
    unet.run(data, loop, UNET)
    inpaint.run(data, loop, INPAINT)
    for feature in FEATURES:
        controlnet.run(data, loop, CONTROL, feature=feature)
    return data


@pytest.mark.parametrize(
    "stage",
    ["vae", "text_image", "judge", "unet", "inpaint", *(f"controlnet_{name}" for name in FEATURES)],
)
def test_a_stage_writes_figures(data: Workspace, stage: str) -> None:
    content = json.loads((data.logs / f"{stage}.json").read_text())
    assert content["figures"]
    assert all(np.isfinite(value) for value in content["figures"].values())


def test_latents_have_unit_variance_and_no_mean(data: Workspace) -> None:
    kinds = [latents.load_latents(data, kind).float() for kind in renders.KINDS]
    joined = torch.cat(kinds)
    torch.testing.assert_close(joined.var(dim=(0, 2, 3)), torch.ones(4), rtol=0.15, atol=0)
    assert joined.mean(dim=(0, 2, 3)).abs().max().item() < 0.1


def test_normalising_latents_leaves_the_reconstruction(data: Workspace) -> None:
    torch.manual_seed(0)
    fresh = vae.build(VAE)
    before = vae.reconstruct(fresh, data.test.scene[:4], "cpu").astype(int)
    vae.normalise_latents(fresh, data.train, "cpu")
    after = vae.reconstruct(fresh, data.test.scene[:4], "cpu").astype(int)
    assert np.abs(after - before).max() <= 1


def test_a_fresh_vae_already_passes_colours() -> None:
    colours = np.random.default_rng(0).integers(40, 216, (8, 1, 1, 3), dtype=np.uint8)
    images = np.broadcast_to(colours, (8, 128, 128, 3)).copy()
    torch.manual_seed(0)
    again = vae.reconstruct(vae.build(vae.VaeSettings()), images, "cpu")
    error = np.abs(again.astype(float) - images)[:, 32:96, 32:96]
    assert error.mean() < 20
    assert np.corrcoef(again.mean((1, 2)).ravel(), images.mean((1, 2)).ravel())[0, 1] > 0.95


def _task(data: Workspace, stage: str) -> vae.VaeTask | unet.UNetTask:
    torch.manual_seed(0)
    if stage == "vae":
        return vae.VaeTask(vae.build(VAE), data, VAE)
    frozen = unet.Conditioning.load(data)
    return unet.UNetTask(unet.build(UNET, 4, 32), frozen, data, UNET)


@pytest.mark.parametrize("stage", ["vae", "unet"])
def test_resuming_gives_what_an_uninterrupted_run_gives(
    data: Workspace, stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unet.UNetTask, "report", lambda self, logs: {})
    settings = LoopSettings(steps=4, save_every_s=0)
    whole = _task(data, stage)
    train(stage, whole, settings, tmp_path / "whole", tmp_path / "logs")

    class Killed(Exception):
        pass

    cut = _task(data, stage)
    loss, calls = cut.loss, []

    def dies_in_third_step(generator: torch.Generator, progress: float) -> torch.Tensor:
        calls.append(progress)
        if len(calls) == 3:
            raise Killed
        return loss(generator, progress)

    cut.loss = dies_in_third_step  # type: ignore[method-assign]
    with pytest.raises(Killed):
        train(stage, cut, settings, tmp_path / "cut", tmp_path / "logs")
    resumed = _task(data, stage)
    train(stage, resumed, settings, tmp_path / "cut", tmp_path / "logs")
    for name, module in whole.modules.items():
        again = resumed.modules[name].state_dict()
        for key, value in module.state_dict().items():
            torch.testing.assert_close(again[key], value, msg=f"{name}.{key} differs")


def test_a_finished_stage_is_not_trained_again(data: Workspace) -> None:
    before = json.loads((data.logs / "judge.json").read_text())["history"][-1]["step"]
    judge.run(data, LoopSettings(steps=2), judge.JudgeSettings(batch=4))
    assert json.loads((data.logs / "judge.json").read_text())["history"][-1]["step"] == before


def test_the_loop_wants_a_budget() -> None:
    with pytest.raises(ValueError, match="budget"):
        LoopSettings()


def test_progress_is_the_budget_that_is_spent_most() -> None:
    settings = LoopSettings(minutes=1, steps=100)
    assert settings.progress(10, 30) == 0.5
    assert settings.progress(80, 30) == 0.8
    assert settings.progress(0, 90) == 1.0
    assert settings.rate(0.0) < settings.rate(0.03) > settings.rate(0.5) > settings.rate(1.0) > 0


def test_inpainting_starts_as_the_base(data: Workspace) -> None:
    base = UNet2DConditionModel.from_pretrained(data.model("unet"))
    wide = inpaint.widen(base)
    noisy, words = torch.randn(2, 4, 16, 16), torch.randn(2, 32, 32)
    beside = torch.randn(2, 5, 16, 16)
    with torch.no_grad():
        wanted = base(noisy, 10, encoder_hidden_states=words).sample
        got = wide(torch.cat([noisy, beside], dim=1), 10, encoder_hidden_states=words).sample
    torch.testing.assert_close(got, wanted)


def test_hidden_pixels_never_reach_the_masked_image() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    repaint = np.zeros((2, 16, 16), np.uint8)
    repaint[:, 4:12] = 255
    other = images.copy()
    other[:, 4:12] = 7
    np.testing.assert_array_equal(inpaint.hide(images, repaint), inpaint.hide(other, repaint))
    assert (inpaint.hide(images, repaint)[:, :4] == images[:, :4]).all()


@pytest.mark.parametrize("size_px", [128, 256])
@pytest.mark.parametrize("feature", FEATURES)
def test_a_feature_map_shows_the_object_alone(data: Workspace, feature: str, size_px: int) -> None:
    rows, maps = controlnet.feature_maps(feature, data.train, (size_px,))
    assert maps.shape == (len(rows), 128, 128, 3)
    nouns = {renders.CLASSES[label].noun for label in data.train.label[rows]}
    assert nouns == ({"person"} if feature == "pose" else set(renders.NOUN_ORDER))
    for row, drawn in zip(rows, maps, strict=True):
        y, x = np.nonzero(data.train.object_mask[row])
        away = np.ones((128, 128), bool)
        away[y.min() - 8 : y.max() + 9, x.min() - 8 : x.max() + 9] = False
        assert drawn.any()
        assert not drawn[away].any()


def test_a_scene_of_two_objects_has_two_rows(data: Workspace) -> None:
    rows = [list(part) for part in data.train.scenes()]
    assert sorted(row for part in rows for row in part) == list(range(len(data.train)))
    for part in rows:
        nouns = [renders.CLASSES[data.train.label[row]].noun for row in part]
        assert nouns in (["dog"], ["person"], ["pill bottle"], ["pill bottle", "photo frame"])
        for row in part:
            assert data.train.words[row].noun == nouns[part.index(row)]
            np.testing.assert_array_equal(data.train.scene[row], data.train.scene[part[0]])
    assert ["pill bottle", "photo frame"] in [
        [renders.CLASSES[data.train.label[row]].noun for row in part] for part in rows
    ]


def test_tasks_are_mixed_the_same_way_each_time(data: Workspace) -> None:
    again = renders.load(data.public)
    np.testing.assert_array_equal(again.object, data.train.object)
    first = {renders.CLASSES[label].noun for label in again.label[: len(again) // 2]}
    assert len(first) > 2


def test_an_inpainting_unet_follows_its_unet(data: Workspace) -> None:
    base = UNet2DConditionModel.from_pretrained(data.model("unet"))
    tuned = UNet2DConditionModel.from_pretrained(data.model("unet"))
    with torch.no_grad():
        for weight in tuned.parameters():
            weight += torch.randn_like(weight) * 0.01
    wide = inpaint.widen(base)
    inpaint.follow(wide, tuned, base)
    wanted = inpaint.widen(tuned).state_dict()
    for name, weight in wide.state_dict().items():
        torch.testing.assert_close(weight, wanted[name], msg=name, atol=1e-6, rtol=1e-4)


def test_figures_are_told_by_noun() -> None:
    labels = np.arange(len(renders.CLASSES))
    guesses = np.where(labels < 4, labels, 0)
    figures = renders.accuracy_by_noun(guesses, labels, "right")
    assert figures["right_dog"] == 1
    assert figures["right_person"] == figures["right_photo_frame"] == 0
    assert figures["right"] == pytest.approx(0.4)
    assert renders.status_group(0) == [0, 1, 2, 3]
    assert renders.status_group(8) == [8, 9]


@pytest.mark.parametrize("prompt", ["A sks Dog", "xyz-style", "hund schläft 🐕", "", "a " * 99])
def test_the_tokenizer_encodes_any_prompt(data: Workspace, prompt: str) -> None:
    frozen = unet.Conditioning.load(data)
    ids = frozen.tokens([prompt])
    assert ids.shape == (1, 32)
    assert frozen.tokenizer.eos_token_id in ids[0].tolist()
    known = frozen.tokenizer.decode(ids[0], skip_special_tokens=True)
    assert known.replace(" ", "").startswith(prompt.lower().replace(" ", "")[:10])


def test_augmented_images_stay_in_range() -> None:
    generator = torch.Generator().manual_seed(0)
    images = tower.augment(torch.rand(3, 3, 32, 32, generator=generator), generator)
    assert images.shape == (3, 3, 32, 32)
    assert images.min() >= 0
    assert images.max() <= 1


def test_a_missing_stage_is_named(tmp_path: Path) -> None:
    empty = Workspace(tmp_path, None, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="run the stage 'vae' first"):
        latents.load_vae(empty)
    with pytest.raises(FileNotFoundError, match="no shard"):
        renders.load(tmp_path)
    with pytest.raises(ValueError, match="wanted one of vae"):
        run_stage("nonsense", empty, LoopSettings(steps=1))


def test_the_job_reads_its_options() -> None:
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from jobs.pretrain_home import parse_minutes, parse_stages

    assert parse_minutes(["vae=1.5"])["vae"] == 1.5
    assert parse_stages("unet,vae") == ["vae", "unet"]
    for wrong in ("vea=1", "vae=soon"):
        with pytest.raises(typer.BadParameter):
            parse_minutes([wrong])
    with pytest.raises(typer.BadParameter, match="unknown"):
        parse_stages("vae,nothing")


def test_the_segmenter_is_trained_measured_and_exported(
    data: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    other = Workspace(data.public, data.heldout, tmp_path / "out")
    # In a process of its own: ultralytics, once imported, replaces Pillow's and OpenCV's functions.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        figures = pool.submit(segmenter.run, other, LoopSettings(steps=1), 64, 4).result()
    assert {"mask_iou", "found", "mask_iou_dog", "found_photo_frame"} <= set(figures)
    assert all(0 <= value <= 1 for value in figures.values())
    metadata = onnxruntime.InferenceSession(
        other.model("segmenter") / "segmenter.onnx"
    ).get_modelmeta()
    for name in ("dog", "person", "pill bottle", "photo frame"):
        assert name in metadata.custom_metadata_map["names"]


def test_the_segmenter_starts_from_the_shipped_one(
    data: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    (tmp_path / "model").mkdir()
    shutil.copy(bundled_segmenter(), tmp_path / "model" / "segmenter.onnx")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        start = pool.submit(segmenter._start, tmp_path, data.train.slice(0, 8), 64).result()
        shares = pool.submit(_equal_weights, start, bundled_segmenter()).result()
    assert shares["filled"] > 0.98
    assert shares["upsample"] == 1


def _equal_weights(start: Path, exported: Path) -> dict[str, float]:
    """Share of the convolutions' weights that equal the export's, all and of `proto.upsample`."""
    own = torch.load(start, weights_only=False)["model"].state_dict()
    given = fused_yolo.onnx_weights(exported)
    kernels = {name: w for name, w in own.items() if w.dim() == 4 and "bn" not in name}
    same = {n: n in given and torch.equal(w.half(), given[n].half()) for n, w in kernels.items()}
    sizes = {name: weight.numel() for name, weight in kernels.items()}
    return {
        "filled": sum(sizes[n] for n, equal in same.items() if equal) / sum(sizes.values()),
        "upsample": float(next(equal for n, equal in same.items() if "upsample" in n)),
    }


@pytest.fixture(scope="module")
def checkpoint(data: Workspace) -> Path:
    """The packaged checkpoint, with an ONNX file standing in for the segmenter."""
    folder = data.folder("segmenter") / "model"
    folder.mkdir(parents=True)
    text_image.export_embedder(tower.ImageTower(4, (8, 8, 8, 8)), folder / "segmenter.onnx")
    target = data.out / "checkpoint"
    package.write_checkpoint(data, target)
    return target


def test_the_checkpoint_is_a_real_pipeline(checkpoint: Path) -> None:
    pipe = StableDiffusionPipeline.from_pretrained(checkpoint, dtype=torch.float32)
    made = pipe("a dog is sitting", num_inference_steps=2, output_type="np").images
    assert made.shape == (1, 128, 128, 3)
    assert pipe.scheduler.config.prediction_type == "v_prediction"


def test_no_file_tells_where_it_was_made(data: Workspace, checkpoint: Path) -> None:
    places = (str(data.out), str(Path(text_image.__file__).parent))
    shipped = Path(text_image.__file__).parents[1] / "checkpoint"
    for file in (f for folder in (checkpoint, shipped) for f in folder.rglob("*") if f.is_file()):
        content = file.read_bytes()
        assert not any(place.encode() in content for place in places), file
        assert b"_name_or_path" not in content, file
        assert b"stack_trace" not in content, file


def test_every_part_loads_by_its_class(checkpoint: Path) -> None:
    for name, (kind, _, _) in package.PARTS.items():
        kind.from_pretrained(checkpoint, subfolder=name)
    wide = UNet2DConditionModel.from_pretrained(checkpoint, subfolder="inpainting/unet")
    assert wide.config.in_channels == 9
    for feature in FEATURES:
        control = ControlNetModel.from_pretrained(checkpoint, subfolder=f"controlnet_{feature}")
        assert tuple(control.config.conditioning_embedding_out_channels) == CONTROL.embedding
    assert "psnr_mean_db" in (checkpoint / "MODEL_CARD.md").read_text()
    assert set(json.loads((checkpoint / "figures.json").read_text())) <= set(MINUTES)


def test_the_text_image_encoder_keeps_its_embeddings(data: Workspace, checkpoint: Path) -> None:
    images = list(data.test.scene[:3])
    images[1] = images[1][:90, :60]
    packed = TextImageEncoder.load(checkpoint / "text_image")
    trained = TextImageEncoder.load(data.model("text_image") / "text_image")
    vectors = packed.encode_images(images)
    assert vectors.shape == (3, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-4)
    np.testing.assert_allclose(vectors, trained.encode_images(images), atol=0.01)
    guesses = packed.guess(images, ["a dog is sitting", "a bedroom", "a dog is sleeping"])
    np.testing.assert_allclose(guesses.sum(axis=1), 1, rtol=1e-4)
    with pytest.raises(ValueError, match="no prompts"):
        packed.guess(images, [])
    with pytest.raises(FileNotFoundError, match=r"text_image\.json"):
        TextImageEncoder.load(checkpoint / "vae")


def test_an_unpacked_checkpoint_packs_into_the_same_one(
    data: Workspace, checkpoint: Path, tmp_path: Path
) -> None:
    other = Workspace(data.public, data.heldout, tmp_path / "out")
    package.unpack_checkpoint(checkpoint, other)
    package.write_checkpoint(other, tmp_path / "again")
    files = {f.relative_to(checkpoint) for f in checkpoint.rglob("*") if f.is_file()}
    assert files == {f.relative_to(tmp_path / "again") for f in (tmp_path / "again").rglob("*.*")}
    for name in (f for f in files if f.suffix in (".safetensors", ".onnx") or "figures" in f.name):
        assert (tmp_path / "again" / name).read_bytes() == (checkpoint / name).read_bytes(), name


@pytest.mark.parametrize("stage", ["unet", "inpaint", "controlnet_canny"])
def test_a_stage_starts_from_an_unpacked_checkpoint(
    data: Workspace, checkpoint: Path, tmp_path: Path, stage: str
) -> None:
    other = Workspace(data.public, data.heldout, tmp_path)
    package.unpack_checkpoint(checkpoint, other)
    for made_here in ("judge", "latents"):
        (tmp_path / made_here).symlink_to(data.folder(made_here))
    kind = next(kind for kind, of, _ in package.PARTS.values() if of == stage)
    given = kind.from_pretrained(other.model(stage)).state_dict()
    module, settings = {
        "unet": (unet, UNET),
        "inpaint": (inpaint, INPAINT),
        "controlnet_canny": (controlnet, CONTROL),
    }[stage]
    module.run(other, LoopSettings(steps=0), settings)  # type: ignore[attr-defined]
    trained = kind.from_pretrained(other.model(stage)).state_dict()
    assert all(torch.equal(trained[name], value) for name, value in given.items())
    figures = package.collect_figures(other.logs)[stage]
    assert figures["steps_of_start"] == package.collect_figures(data.logs)[stage]["step"]


def test_a_stage_that_counts_no_steps_has_figures(tmp_path: Path) -> None:
    content = {"figures": {"found": 0.9}, "history": [{"minutes": 18.0}]}
    (tmp_path / "segmenter.json").write_text(json.dumps(content))
    (tmp_path / "segmenter.start.json").write_text(json.dumps({"minutes": 15.0}))
    assert package.collect_figures(tmp_path) == {
        "segmenter": {"found": 0.9, "minutes": 18.0, "minutes_of_start": 15.0}
    }


def test_a_checkpoint_that_is_too_large_is_refused(data: Workspace, checkpoint: Path) -> None:
    with pytest.raises(ValueError, match=r"wanted 0\.1 at most"):
        package.write_checkpoint(data, data.out / "large", limit_mb=0.1)
    assert not (data.out / "large").exists()


def test_held_out_scenes_are_not_trained_on(data: Workspace) -> None:
    alone = replace(data, heldout=None)
    assert len(alone.train) + len(alone.test) == len(data.train)
    assert len(data.test) == 14
