"""A whole diffusion checkpoint of real classes at tiny sizes, made in about a second.

Random weights: what it draws is noise, but every shape, file and code path is that of Stable
Diffusion. It works at 64 px: latents are ``(4, 8, 8)``.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DPMSolverMultistepScheduler,
    UNet2DConditionModel,
)
from tokenizers import pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

from spinml.config import ServerConfig

RESOLUTION_PX = 64
LATENT_CHANNELS = 4
TEXT_WIDTH = 32
MAX_TOKENS = 64
EMBEDDING_WIDTH = 8


def make_tiny_checkpoint(path: Path, *, seed: int = 0) -> Path:
    """Write the tiny checkpoint into the folder ``path`` (made if missing) and return it.

    Parts: ``vae``, ``tokenizer``, ``text_encoder``, ``unet``, ``scheduler``, ``inpainting/unet``,
    ``controlnet_canny`` and ``text_image``.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tokenizer = _tokenizer(path / "tokenizer")
        CLIPTextModel(_text_config(tokenizer)).save_pretrained(path / "text_encoder")
        _vae().save_pretrained(path / "vae")
        unet = _unet(LATENT_CHANNELS)
        unet.save_pretrained(path / "unet")
        _unet(2 * LATENT_CHANNELS + 1).save_pretrained(path / "inpainting" / "unet")
        _controlnet(unet).save_pretrained(path / "controlnet_canny")
        _text_image(path / "text_image")
    scheduler = DPMSolverMultistepScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    )
    scheduler.save_pretrained(path / "scheduler")
    return path


def tiny_config(checkpoint: Path) -> ServerConfig:
    """Settings under which every stage runs on the tiny checkpoint in about a second.

    What counts as a broken object is lax, for the tiny checkpoint draws noise.
    """
    return ServerConfig.model_validate(
        {
            "checkpoint": {
                "base": str(checkpoint),
                "resolution_px": RESOLUTION_PX,
                "dtype": "float32",
            },
            "expand": {"images_per_feature": 2, "steps": 2},
            "finetune": {"steps": 4, "batch_size": 2, "class_images": 3},
            "generation": {
                "images_per_class": 4,
                "steps": 2,
                "batch_size": 4,
                "shard_size": 8,
                "min_label_probability": 0,
                "cutout": {
                    "weak_difference": 1,
                    "strong_difference": 1,
                    "ground_tolerance": 255,
                    "min_area_share": 0,
                    "max_area_share": 1,
                    "max_second_share": 1,
                    "max_border_share": 1,
                },
            },
            "training": {"image_px": RESOLUTION_PX, "epochs": 2, "batch_size": 8},
        }
    )


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


def _text_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        projection_dim=EMBEDDING_WIDTH,
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _text_image(folder: Path) -> None:
    """A text-image encoder whose image tower is a projection of the mean colour."""
    tokenizer = _tokenizer(folder)
    CLIPTextModelWithProjection(_text_config(tokenizer)).save_pretrained(folder)
    projection = np.random.default_rng(0).standard_normal((3, EMBEDDING_WIDTH)).astype(np.float32)
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("GlobalAveragePool", ["image"], ["means"]),
            onnx.helper.make_node("Flatten", ["means"], ["colour"]),
            onnx.helper.make_node("MatMul", ["colour", "projection"], ["vector"]),
            onnx.helper.make_node("LpNormalization", ["vector"], ["embedding"], axis=1, p=2),
        ],
        "embedder",
        [_values("image", ["n", 3, RESOLUTION_PX, RESOLUTION_PX])],
        [_values("embedding", ["n", EMBEDDING_WIDTH])],
        [onnx.numpy_helper.from_array(projection, "projection")],
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
    onnx.save_model(model, folder / "embedder.onnx")
    description = {
        "size_px": RESOLUTION_PX,
        "dimensions": EMBEDDING_WIDTH,
        "logit_scale": 10.0,
    }
    (folder / "text_image.json").write_text(json.dumps(description))


def _values(name: str, shape: list[str | int]) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def _vae() -> AutoencoderKL:
    vae = AutoencoderKL(
        block_out_channels=(4, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=4,
        layers_per_block=1,
        sample_size=RESOLUTION_PX,
    )
    torch.nn.init.normal_(vae.decoder.conv_out.weight, std=0.5)  # strong colours, not one grey
    return vae


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
