"""A start for the VAE in which the mean colour of each 8 x 8 px block already passes through it.

From a random start the VAE learns brightness in minutes, one chroma axis after a quarter of an
hour and the other much later, for chroma has little variance and must pass about ten layers.
Here a few channels of the trunk carry brightness and both chroma axes from end to end, each beside
its negative, since silu(x) - silu(-x) = x; a constant pair beside them keeps group normalisation
from rescaling them. Everything else starts at random and learns the rest.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

# Rows: brightness and two chroma axes of RGB in [-1, 1], scaled to about unit variance.
AXES = torch.tensor([[0.6, 0.6, 0.6], [2.6, -2.6, 0.0], [1.4, 1.4, -2.8]])
CONSTANT = 4.0
CARRIED = 8  # brightness, red-green, yellow-blue, each with its negative; the constant with its own
MIN_CARRIED = 24  # channels at full size: eight groups of three
LOGVAR = -5.0


@torch.no_grad()
def carry_colours(vae: AutoencoderKL) -> None:
    """Set the first channels of every trunk convolution of a fresh VAE, in place."""
    latents = vae.config.latent_channels
    smooth = torch.tensor([0.25, 0.5, 0.25])
    mean = torch.tensor([0.5, 0.5, 0.0])
    _enter(vae.encoder.conv_in, AXES)
    for block in vae.encoder.down_blocks:
        _pass_on(block.resnets[0].conv_shortcut, torch.ones(1))
        for sampler in block.downsamplers or ():
            _pass_on(sampler.conv, mean)
    _leave_encoder(vae, latents)
    for conv in (vae.quant_conv, vae.post_quant_conv):
        conv.weight.copy_(torch.eye(conv.out_channels)[:, :, None, None])
        conv.bias.zero_()
    _enter(vae.decoder.conv_in, torch.eye(3, latents))
    for block in vae.decoder.up_blocks:
        _pass_on(block.resnets[0].conv_shortcut, torch.ones(1))
        for sampler in block.upsamplers or ():
            _pass_on(sampler.conv, smooth)
    _leave_decoder(vae)


def _enter(conv: nn.Conv2d, rows: Tensor) -> None:
    """The carried channels from `rows` ``(3, in)`` of the input's centre, and the constants."""
    bias = _bias(conv)
    conv.weight[:CARRIED] = 0
    bias[:CARRIED] = 0
    centre = conv.kernel_size[0] // 2
    for axis in range(3):
        conv.weight[2 * axis, :, centre, centre] = rows[axis]
        conv.weight[2 * axis + 1, :, centre, centre] = -rows[axis]
    bias[6], bias[7] = CONSTANT, -CONSTANT


def _bias(conv: nn.Conv2d) -> Tensor:
    if conv.bias is None:
        raise TypeError(f"a convolution to {conv.out_channels} channels has no bias to carry in")
    return conv.bias


def _pass_on(conv: nn.Conv2d | None, taps: Tensor) -> None:
    """Carried channels to themselves through a separable kernel; a missing shortcut does that."""
    if conv is None:
        return
    conv.weight[:CARRIED] = 0
    _bias(conv)[:CARRIED] = 0
    kernel = taps[:, None] * taps[None, :]
    for channel in range(CARRIED):
        conv.weight[channel, channel] = kernel


def _leave_encoder(vae: AutoencoderKL, latents: int) -> None:
    """The first three latent means from the carried pairs; little posterior noise at first."""
    norm, conv = vae.encoder.conv_norm_out, vae.encoder.conv_out
    members = norm.num_channels // norm.num_groups
    scale = ((2 * CONSTANT**2 + 2 * 3) / members + 0.3) ** 0.5
    conv.weight[:3] = 0
    conv.bias[:3] = 0
    for axis in range(3):
        conv.weight[axis, 2 * axis, 1, 1] = scale
        conv.weight[axis, 2 * axis + 1, 1, 1] = -scale
    conv.weight[latents:] *= 0.1
    conv.bias[latents:] = LOGVAR


def _leave_decoder(vae: AutoencoderKL) -> None:
    """RGB from the carried pairs, each put beside a constant in a group of its own."""
    shortcut = vae.decoder.up_blocks[-1].resnets[0].conv_shortcut
    norm, conv = vae.decoder.conv_norm_out, vae.decoder.conv_out
    members = norm.num_channels // norm.num_groups
    back = torch.linalg.inv(AXES)
    conv.weight *= 0.1
    std = (2 / members + CONSTANT**2 * (members - 1) / members**2) ** 0.5
    for axis in range(3):
        first = axis * members
        for place, source in enumerate((2 * axis, 2 * axis + 1, 6)):
            shortcut.weight[first + place] = 0
            shortcut.weight[first + place, source] = 1
            shortcut.bias[first + place] = 0
        norm.weight[first : first + 3] = std
        norm.bias[first : first + 3] = CONSTANT / members
        conv.weight[:, first : first + 3] = 0
        conv.weight[:, first, 1, 1] = back[:, axis]
        conv.weight[:, first + 1, 1, 1] = -back[:, axis]
