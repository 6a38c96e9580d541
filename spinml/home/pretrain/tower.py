"""A small convolutional image tower: the embedder's trunk and the judge's."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

WIDTHS = (32, 64, 128, 192)


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, halving the size where `stride` is 2."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        same = stride == 1 and before == after
        self.shortcut = nn.Identity() if same else nn.Conv2d(before, after, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class ImageTower(nn.Module):
    """RGB in [0, 1], shape ``(b, 3, 128, 128)``, to features, shape ``(b, out)``."""

    def __init__(self, out: int, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        stem = nn.Conv2d(3, widths[0], 5, 2, 2, bias=False)
        blocks = [Residual(a, b, 2) for a, b in pairwise(widths)]
        self.trunk = nn.Sequential(
            stem, nn.BatchNorm2d(widths[0]), nn.ReLU(), nn.MaxPool2d(2), *blocks
        )
        self.head = nn.Linear(widths[-1], out)

    def forward(self, images: Tensor) -> Tensor:
        features = self.trunk(images * 4 - 2)
        return self.head(features.mean(dim=(2, 3)))  # type: ignore[no-any-return]


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random flip, shift of up to 8 px, brightness, contrast and a little noise, in [0, 1]."""
    count = len(images)
    flips = torch.rand(count, generator=generator) < 0.5
    images = torch.where(flips[:, None, None, None], images.flip(3), images)
    down, right = (int(v) for v in torch.randint(-8, 9, (2,), generator=generator))
    padded = nn.functional.pad(images, (8, 8, 8, 8), mode="replicate")
    height, width = images.shape[2:]
    images = padded[:, :, 8 + down : 8 + down + height, 8 + right : 8 + right + width]
    gain, lift = (torch.rand(2, count, 3, 1, 1, generator=generator) - 0.5).unbind()
    noise = torch.randn(images.shape, generator=generator) * 0.02
    return (images * (1 + 0.4 * gain) + 0.2 * lift + noise).clamp(0, 1)
