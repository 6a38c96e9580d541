"""Embedders of the hub's kind, from a folder: which of them read texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTokenizer,
    Dinov2Config,
    Dinov2Model,
)

from spinml.config import ServerConfig
from spinml.errors import CheckpointError
from spinml.training.embedders import HubEmbedder, load_embedder

SIZE = {"height": 32, "width": 32}
TOWER = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
IMAGES = [np.full((40, 40, 3), level, np.uint8) for level in (10, 200)]


def _config(folder: Path) -> ServerConfig:
    return ServerConfig.model_validate({"measure": {"embedder": str(folder)}})


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    letters = "abcdefghijklmnopqrstuvwxyz"
    names = [*letters, *(f"{one}</w>" for one in letters), "<|startoftext|>", "<|endoftext|>"]
    vocab = {name: number for number, name in enumerate(names)}
    CLIPTokenizer(vocab=vocab, merges=[], model_max_length=12).save_pretrained(tmp_path)
    end = vocab["<|endoftext|>"]
    text = TOWER | {
        "num_attention_heads": 2,
        "vocab_size": len(vocab),
        "max_position_embeddings": 12,
        "bos_token_id": end - 1,
        "eos_token_id": end,
        "pad_token_id": end,
    }
    vision = TOWER | {"num_attention_heads": 2, "image_size": 32, "patch_size": 16}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(
        tmp_path
    )
    CLIPImageProcessor(size=SIZE, crop_size=SIZE).save_pretrained(tmp_path)
    return tmp_path


def test_clip_embeds_images_and_texts_in_one_space(clip: Path) -> None:
    embedder = load_embedder(_config(clip))
    assert embedder.texts is not None
    images, texts = embedder.images(IMAGES), embedder.texts(["a dog", "a cat", ""])
    assert (images.shape, texts.shape) == ((2, 8), (3, 8))
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-5)
    assert len({row.tobytes() for row in texts}) == 3


def test_dino_reads_no_texts(tmp_path: Path) -> None:
    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16
    )
    Dinov2Model(config).save_pretrained(tmp_path)
    CLIPImageProcessor(size=SIZE, crop_size=SIZE).save_pretrained(tmp_path)
    embedder = load_embedder(_config(tmp_path))
    assert embedder.texts is None
    assert embedder.images(IMAGES).shape == (2, 16)
    with pytest.raises(CheckpointError, match="no text tower"):
        HubEmbedder(str(tmp_path)).embed_texts(["a dog"])
