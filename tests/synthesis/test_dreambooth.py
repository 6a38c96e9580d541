from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spinml.config import FinetuneConfig, PromptConfig, ServerConfig
from spinml.errors import CheckpointError
from spinml.pipeline.stages import Stage, StageContext, StageKind
from spinml.synthesis.captions import guess_labels, target_captions
from spinml.synthesis.checkpoint import Checkpoint
from spinml.synthesis.dreambooth import finetune, prior_preserving_loss
from spinml.synthesis.examples import CachedExamples, ReferenceSet, UncachedExamples
from spinml.synthesis.inpainting import merge
from spinml.synthesis.prompts import Prompts
from spinml.synthesis.references import prepare_references
from spinml.synthesis.sources import inpainting_unet, save_unet, saved_unet
from spinml.synthesis.stages import run_merge

ROUNDED = {"atol": 1e-3, "rtol": 0.0}
"""A tuned UNet is stored at half precision."""


def _references(count: int = 3) -> ReferenceSet:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(count)]
    return ReferenceSet(prepare_references(images, "target", 64), ["a xyz dog"] * count)


def _settings(**changes: Any) -> FinetuneConfig:
    return FinetuneConfig(steps=3, batch_size=2, learning_rate=1e-3, **changes)


def test_loss_weighs_class_images_and_ignores_holes() -> None:
    prediction, target = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    target[1] = 2.0
    weight = torch.ones(2, 1, 2, 2)
    assert prior_preserving_loss(prediction, target, weight, 1, 0.1).item() == pytest.approx(1.4)
    target[0, :, 0, 0] = 100.0
    weight[0, :, 0, 0] = 0.0
    assert prior_preserving_loss(prediction, target, weight, 1, 0.1).item() == pytest.approx(1.4)


def test_loss_without_class_images_is_the_plain_one() -> None:
    prediction, target = torch.zeros(3, 2, 2, 2), torch.full((3, 2, 2, 2), 2.0)
    weight = torch.ones(3, 1, 2, 2)
    assert prior_preserving_loss(prediction, target, weight, 3, 1.0).item() == pytest.approx(4.0)


def test_the_cache_changes_nothing_but_the_time(checkpoint: Checkpoint) -> None:
    arguments = (checkpoint, _references(), _references(2), 2, 5)
    cached, uncached = CachedExamples(*arguments), UncachedExamples(*arguments)
    for _ in range(3):
        one, other = cached.draw(), uncached.draw()
        assert one.n_instance == other.n_instance == 2
        torch.testing.assert_close(one.latents, other.latents, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(one.embeddings, other.embeddings, atol=1e-4, rtol=1e-4)


def test_a_tuned_unet_keeps_the_attention_it_samples_with(checkpoint: Checkpoint) -> None:
    tuned = finetune(checkpoint, _references(), None, _settings(), seed=0).unet
    kinds = {name: type(kind) for name, kind in tuned.attn_processors.items()}
    assert kinds == {name: type(kind) for name, kind in checkpoint.unet.attn_processors.items()}


def test_accumulated_parts_weigh_as_one_mean(checkpoint: Checkpoint) -> None:
    whole = finetune(checkpoint, _references(), None, _settings(), seed=0)
    parts = finetune(checkpoint, _references(), None, _settings(gradient_accumulation=4), seed=0)
    assert parts.losses[0] == pytest.approx(whole.losses[0], rel=0.3)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_same_seed_gives_the_same_weights(checkpoint: Checkpoint, method: str) -> None:
    before = checkpoint.unet.state_dict()
    tuned = [
        finetune(checkpoint, _references(), _references(2), _settings(method=method), seed=seed)
        for seed in (1, 1, 2)
    ]
    first, again, other = (one.unet.state_dict() for one in tuned)
    assert first.keys() == before.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert any(not torch.equal(first[name], before[name]) for name in first)
    assert len(tuned[0].losses) == 3


def test_accumulation_and_checkpointing_run_and_report(checkpoint: Checkpoint) -> None:
    settings = _settings(gradient_accumulation=2, gradient_checkpointing=True)
    told: list[int] = []
    finetune(
        checkpoint,
        _references(),
        None,
        settings,
        seed=0,
        progress=lambda done, total, unit: told.append(done),
    )
    assert told == [1, 2, 3]


def test_a_hole_is_not_learned() -> None:
    image = np.zeros((80, 64, 4), np.uint8)
    image[..., :3], image[..., 3] = 90, 255
    image[8:40, 0:32] = 0
    (reference,) = prepare_references([image], "background", 64)
    assert reference.image.shape == (64, 64, 3)
    assert (reference.image == 90).all()
    assert reference.weight[:32, :32].max() == 0
    assert reference.weight[40:, 40:].min() == 1


def test_labels_are_guessed_from_what_was_shared(checkpoint: Checkpoint) -> None:
    assert checkpoint.text_image is not None
    prompts = Prompts(PromptConfig())
    images = [reference.image for reference in _references().references]
    guesses = guess_labels(checkpoint.text_image, images, prompts, "dog", ["eating", "sitting"])
    assert set(guesses) <= {"eating", "sitting", None}
    assert target_captions(prompts, "dog", ["eating", None]) == [
        "a xyz dog is eating, plain background",
        "a xyz dog, plain background",
    ]


def test_merging_adds_the_change_and_keeps_the_mask_channels(checkpoint: Checkpoint) -> None:
    base, tuned = checkpoint.base_unet(), checkpoint.base_unet()
    with torch.no_grad():
        for weight in tuned.parameters():
            weight += 0.25
    plain, inpainting = (inpainting_unet(checkpoint.config, 4, torch.float32) for _ in range(2))
    merged = merge(inpainting, tuned.half(), base)
    change = merged.conv_in.weight - plain.conv_in.weight
    torch.testing.assert_close(change[:, :4], torch.full_like(change[:, :4], 0.25), **ROUNDED)
    assert not change[:, 4:].any()
    wanted = plain.conv_out.weight + 0.25
    torch.testing.assert_close(merged.conv_out.weight, wanted, **ROUNDED)


def test_a_worker_without_a_gpu_merges_for_a_checkpoint_on_one(
    checkpoint: Checkpoint, config: ServerConfig, tmp_path: Path
) -> None:
    on_gpu = config.checkpoint.model_copy(update={"device": "cuda", "dtype": "float16"})
    save_unet(checkpoint.base_unet(), tmp_path / "tuned" / "unet")
    context = StageContext(
        Stage(StageKind.MERGE, {}),
        {"tuned_unet": tmp_path / "tuned"},
        tmp_path,
        config.model_copy(update={"checkpoint": on_gpu}),
    )
    assert run_merge(context)["parameters"] > 0
    assert saved_unet(tmp_path / "unet", torch.float32).config.in_channels == 9


def test_labels_cannot_be_guessed_without_an_encoder(checkpoint: Checkpoint) -> None:
    lacking = copy(checkpoint)
    lacking.__dict__["text_image"] = None
    with pytest.raises(CheckpointError, match="no text-image encoder") as caught:
        lacking.judge("finetune.guess_labels to false")
    assert caught.value.remedy == "set finetune.guess_labels to false"


def test_models_of_other_shapes_are_not_merged(checkpoint: Checkpoint) -> None:
    tuned = checkpoint.base_unet()
    tuned.conv_out = torch.nn.Conv2d(8, 3, 3)
    with pytest.raises(CheckpointError, match=r"conv_out.weight"):
        merge(inpainting_unet(checkpoint.config, 4, torch.float32), tuned, checkpoint.base_unet())
