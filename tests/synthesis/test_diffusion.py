from __future__ import annotations

import numpy as np
import torch

from spinml.config import ExpandConfig, PromptConfig
from spinml.synthesis.checkpoint import Checkpoint
from spinml.synthesis.controlnet import expand_features
from spinml.synthesis.diffusion import Order, Sampler
from spinml.synthesis.inpainting import inpainting_channels
from spinml.synthesis.prompts import Prompts


def _sampler(checkpoint: Checkpoint, batch_size: int = 4) -> Sampler:
    return Sampler(checkpoint, steps=2, guidance_scale=3.0, batch_size=batch_size)


def test_an_image_depends_on_seed_and_prompt_not_on_its_batch(checkpoint: Checkpoint) -> None:
    prompts, seeds = ["a dog", "a cat", "a dog"], [1, 2, 3]
    together = _sampler(checkpoint).sample(checkpoint.unet, Order(prompts, seeds))
    alone = _sampler(checkpoint, 1).sample(checkpoint.unet, Order(prompts[::-1], seeds[::-1]))[::-1]
    assert together[0].shape == (64, 64, 3)
    for one, other in zip(together, alone, strict=True):
        assert np.abs(one.astype(int) - other.astype(int)).max() <= 1
    changed = _sampler(checkpoint).sample(checkpoint.unet, Order(["a cat"], [1]))
    assert (changed[0] != together[0]).any()


def test_the_same_order_gives_the_same_bytes(checkpoint: Checkpoint) -> None:
    order = Order(["a dog"] * 3, [5, 6, 7])
    first = _sampler(checkpoint).sample(checkpoint.unet, order)
    again = _sampler(checkpoint).sample(checkpoint.unet, order)
    assert all((one == other).all() for one, other in zip(first, again, strict=True))


def test_ticks_count_images(checkpoint: Checkpoint) -> None:
    ticks: list[int] = []
    order = Order(["a dog"] * 3, [1, 2, 3])
    _sampler(checkpoint, 2).sample(checkpoint.unet, order, ticks.append)
    assert ticks == [2, 3]


def test_the_feature_map_steers_what_is_drawn(checkpoint: Checkpoint) -> None:
    settings = ExpandConfig(images_per_feature=2, steps=2)
    maps = [np.zeros((32, 32), np.uint8), np.full((32, 32), 255, np.uint8)]

    def expand(features: list[np.ndarray]) -> list[np.ndarray]:
        return expand_features(
            checkpoint,
            features,
            settings,
            feature="canny",
            prompt="a dog",
            negative="",
            seed=0,
            batch_size=4,
        )

    red, blue = (np.full((32, 32, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    assert (expand([red])[0] != expand([blue])[0]).any()
    black, white = expand(maps)[:2], expand(maps[::-1])[:2]
    assert len(expand(maps)) == 4
    assert (black[0] != white[0]).any()
    assert (black[0] != black[1]).any()


def test_what_is_painted_over_has_no_influence(checkpoint: Checkpoint) -> None:
    rng = np.random.default_rng(0)
    keep = np.zeros((64, 64), bool)
    keep[16:48, 16:48] = True
    image = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    other = np.where(keep[..., None], image, 255 - image)
    channels = inpainting_channels(checkpoint, [image, other], [keep, keep])
    assert channels.shape == (2, 5, 8, 8)
    assert torch.equal(channels[0], channels[1])
    assert channels[0, 0, 4, 4] == 0
    assert channels[0, 0, 0, 0] == 1


def test_the_token_stands_in_prompts_of_tuned_models_alone() -> None:
    prompts = Prompts(PromptConfig())
    assert prompts.labelled("dog", "eating", tuned=False) == "a dog is eating, plain background"
    assert prompts.unlabelled("dog", tuned=True) == "a xyz dog, plain background"
    assert prompts.background("bedroom", tuned=True) == "a xyz bedroom"
    assert len(prompts.object_by_class("dog", ["eating", "sitting"], tuned=True)) == 2
