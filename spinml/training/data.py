"""A synthetic dataset in memory, split and augmented."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler, RandomSampler
from torchvision.transforms import v2

from spinml.errors import StageError
from spinml.synthesis.dataset import ShardDataset

_LEAST_STEPS_AN_EPOCH = 12
_SMALLEST_BATCH = 8


@dataclass(frozen=True)
class Images:
    """Images in memory.

    Attributes:
        pixels: uint8 ``(n, 3, px, px)``.
        labels: int64 ``(n,)``.
    """

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def load_images(
    dataset: ShardDataset, image_px: int, indices: Sequence[int] | None = None
) -> Images:
    """Decode rows of ``dataset``, all by default, scaled to ``image_px``.

    One after the other: more than the result never lies in memory.
    """
    chosen = range(len(dataset)) if indices is None else indices
    pixels = torch.empty((len(chosen), 3, image_px, image_px), dtype=torch.uint8)
    labels = torch.empty(len(chosen), dtype=torch.long)
    for place, index in enumerate(chosen):
        image, labels[place] = dataset[index]
        pixels[place] = _scaled(torch.from_numpy(image).permute(2, 0, 1).contiguous(), image_px)
    return Images(pixels, labels)


def _scaled(pixels: Tensor, image_px: int) -> Tensor:
    if pixels.shape[-1] == image_px:
        return pixels
    size = (image_px, image_px)
    scaled = F.interpolate(pixels[None].float(), size=size, mode="bilinear", antialias=True)[0]
    return scaled.round().clamp(0, 255).to(torch.uint8)


def split_rows(
    dataset: ShardDataset, validation_share: float, seed: int
) -> tuple[list[int], list[int]]:
    """The rows of ``dataset`` that train and those that validate: :func:`stratified_split`."""
    return stratified_split(dataset.labels(), dataset.seeds(), validation_share, seed)


def stratified_split(
    labels: Sequence[int], image_seeds: Sequence[int], validation_share: float, seed: int
) -> tuple[list[int], list[int]]:
    """Indices for training and for validation; each class is split by the same share.

    Every class keeps at least one image on either side, and images of one seed stay on one side:
    in a mixture they are alike in objects, places or noise.

    Raises:
        StageError: a class has images of fewer than two seeds.
    """
    generator = torch.Generator().manual_seed(seed)
    validates: set[tuple[int, int]] = set()
    keys = list(zip(labels, image_seeds, strict=True))
    for label in sorted(set(labels)):
        members = list(dict.fromkeys(key for key in keys if key[0] == label))
        if len(members) < 2:
            raise StageError(
                f"class {label} has {len(members)} image(s), at least 2 are wanted",
                remedy="raise images_per_class",
            )
        order = torch.randperm(len(members), generator=generator).tolist()
        held = min(max(1, round(len(members) * validation_share)), len(members) - 1)
        validates |= {members[index] for index in order[:held]}
    training = [index for index, key in enumerate(keys) if key not in validates]
    return training, [index for index, key in enumerate(keys) if key in validates]


def batch_size_for(images: int, wanted: int) -> int:
    """``wanted``, or less where an epoch would then have fewer than 12 steps.

    The paper's 128 (B.2) is for 1,600 images; on a few hundred it leaves too few steps.
    """
    return max(min(wanted, images // _LEAST_STEPS_AN_EPOCH), min(_SMALLEST_BATCH, images))


def augmentation(image_px: int) -> v2.Transform:
    """What a home camera varies: side, framing, light, sharpness, noise; uint8 to [0, 1]."""
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomAffine(degrees=8, translate=(0.05, 0.05), fill=127),
            v2.RandomResizedCrop(image_px, scale=(0.7, 1.0), ratio=(0.85, 1.18), antialias=True),
            v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.03),
            v2.RandomApply([v2.GaussianBlur(3, sigma=(0.3, 1.2))], p=0.3),
            v2.ToDtype(torch.float32, scale=True),
            v2.RandomApply([v2.GaussianNoise(sigma=0.03)], p=0.3),
        ]
    )


class Augmented(Dataset[tuple[Tensor, Tensor]]):
    """Training images, each augmented anew whenever it is asked for."""

    def __init__(self, images: Images, image_px: int) -> None:
        self.images, self.transform = images, augmentation(image_px)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.transform(self.images.pixels[index]), self.images.labels[index]


def training_loader(
    images: Images, image_px: int, batch_size: int, seed: int, *, rank: int = 0, workers: int = 1
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Shuffled, augmented batches: float ``(b, 3, px, px)`` in [0, 1] and labels ``(b,)``.

    Args:
        batch_size: of all workers together; see :func:`batch_size_for`.
        rank, workers: whose share of the images and of a batch it is, of how many.
    """
    data, generator = Augmented(images, image_px), torch.Generator().manual_seed(seed)
    size = max(batch_size_for(len(images), batch_size) // workers, min(2, len(images)))
    share = -(-len(images) // workers)
    sampler = (
        DistributedSampler(data, num_replicas=workers, rank=rank, seed=seed)
        if workers > 1
        else RandomSampler(data, generator=generator)
    )
    return DataLoader(
        data,
        batch_size=size,
        sampler=sampler,
        drop_last=share % size == 1,
        generator=generator,
    )
