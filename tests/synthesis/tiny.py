"""A whole diffusion checkpoint of real classes at tiny sizes, made in about a second.

Random weights: what it draws is noise, but every shape, file and code path is that of Stable
Diffusion. It works at 64 px: latents are ``(4, 8, 8)``.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DPMSolverMultistepScheduler,
    UNet2DConditionModel,
)
from tokenizers import pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

RESOLUTION_PX = 64
LATENT_CHANNELS = 4
TEXT_WIDTH = 32
MAX_TOKENS = 64


def make_tiny_checkpoint(path: Path, *, seed: int = 0) -> Path:
    """Write the tiny checkpoint into the folder ``path`` (made if missing) and return it.

    Parts: ``vae``, ``tokenizer``, ``text_encoder``, ``unet``, ``scheduler``, ``inpainting/unet``
    and ``controlnet_canny``; no ``text_image``.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tokenizer = _tokenizer(path / "tokenizer")
        _text_encoder(tokenizer).save_pretrained(path / "text_encoder")
        _vae().save_pretrained(path / "vae")
        unet = _unet(LATENT_CHANNELS)
        unet.save_pretrained(path / "unet")
        _unet(2 * LATENT_CHANNELS + 1).save_pretrained(path / "inpainting" / "unet")
        _controlnet(unet).save_pretrained(path / "controlnet_canny")
    scheduler = DPMSolverMultistepScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    )
    scheduler.save_pretrained(path / "scheduler")
    return path


def _tokenizer(folder: Path) -> CLIPTokenizer:
    """One token a character: any prompt can be encoded without learning a vocabulary."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocab = {name: number for number, name in enumerate(names)}
    tokenizer = CLIPTokenizer(vocab=vocab, merges=[], model_max_length=MAX_TOKENS)
    tokenizer.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    return tokenizer


def _text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(4, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=4,
        layers_per_block=1,
        sample_size=RESOLUTION_PX,
    )


def _unet(in_channels: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=RESOLUTION_PX // 8,
        in_channels=in_channels,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=4,
    )


def _controlnet(unet: UNet2DConditionModel) -> ControlNetModel:
    """A ControlNet whose zero convolutions are filled, so that its condition has an effect."""
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 4, 8, 8))
    for name, weights in controlnet.named_parameters():
        if "controlnet" in name and not weights.any():
            torch.nn.init.normal_(weights, std=0.1)
    return controlnet
