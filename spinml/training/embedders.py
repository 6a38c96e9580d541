"""The models that SIM embeds with (eq. 2, table 4d): the bundled ones, or one of the hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from spinml.config import ServerConfig
from spinml.errors import CheckpointError
from spinml.images import Photo
from spinml.pipeline.local_files import HOME
from spinml.privacy.similarity import Embeddings, OnnxEmbedder, normalised
from spinml.synthesis.compute import select_device
from spinml.synthesis.identity import locate
from spinml.synthesis.text_image import TextImageEncoder

_BATCH = 16
_BUNDLED = "text_image/embedder.onnx"


@dataclass(frozen=True)
class Embedder:
    """RGB images and, where the model has a text tower, texts in one space.

    Both give L2-normalised embeddings ``(n, d)``.
    """

    images: Callable[[Sequence[Photo]], Embeddings]
    texts: Callable[[Sequence[str]], Embeddings] | None
    """None: the model has no text tower."""


def load_embedder(config: ServerConfig) -> Embedder:
    """The embedder that ``config.measure`` names.

    ``home`` is the ONNX embedder in the checkpoint's folder, which the device has too; anything
    else a folder or hub name of CLIP, DINOv2 or BLIP-2 for transformers.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    name = config.measure.embedder
    if name != HOME:
        hub = HubEmbedder(name)
        return Embedder(hub.embed_images, hub.embed_texts if hub.tokenizer else None)
    folder = locate(config.checkpoint.base)
    path = (locate(HOME) if folder is None else folder) / _BUNDLED  # type: ignore[operator]
    if not path.is_file():
        raise CheckpointError(
            f"the checkpoint has no {_BUNDLED}",
            remedy="set measure.embedder to a hub name or folder of CLIP, DINOv2 or BLIP-2",
        )
    told = (path.parent / "text_image.json").is_file()
    texts = TextImageEncoder.load(path.parent).encode_texts if told else None
    return Embedder(OnnxEmbedder(path), texts)


class HubEmbedder:
    """An image tower of transformers, and CLIP's text tower.

    CLIP gives its projected image features, BLIP-2 the mean of its query features, DINOv2 and
    others their pooled output. BLIP-2's language model shares no space with its query features.
    """

    def __init__(self, name: str) -> None:
        try:
            self.processor = AutoImageProcessor.from_pretrained(name)
            self.model = AutoModel.from_pretrained(name, use_safetensors=True).eval()
            self.tokenizer = AutoTokenizer.from_pretrained(name) if _reads(self.model) else None
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"the embedder {name!r} cannot be loaded: {type(error).__name__}",
                remedy="check the name and the network, or set measure.embedder to home",
            ) from error
        self.device = select_device("auto")
        self.model.to(self.device)

    def embed_images(self, photos: Sequence[Photo]) -> Embeddings:
        """L2-normalised embeddings of RGB ``photos``, shape ``(n, d)``."""
        batches = [photos[at : at + _BATCH] for at in range(0, len(photos), _BATCH)]
        return np.concatenate([self._embed(batch) for batch in batches])

    def embed_texts(self, texts: Sequence[str]) -> Embeddings:
        """L2-normalised embeddings of ``texts``, shape ``(n, d)``; longer ones are cut.

        Raises:
            CheckpointError: the model has no text tower.
        """
        if self.tokenizer is None:
            raise CheckpointError("the embedder has no text tower", remedy="set one of CLIP")
        tokens = self.tokenizer(
            list(texts), padding="max_length", truncation=True, return_tensors="pt"
        ).to(self.device)
        with torch.inference_mode():
            found = _vectors(self.model.get_text_features(**tokens))
        return normalised(found.float().cpu().numpy())

    def _embed(self, photos: Sequence[Photo]) -> Embeddings:
        inputs = self.processor(images=list(photos), return_tensors="pt").to(self.device)
        with torch.inference_mode():
            found = self._features(inputs)
        return normalised(found.float().cpu().numpy())

    def _features(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        pixels = inputs["pixel_values"]
        if hasattr(self.model, "get_qformer_features"):
            found = self.model.get_qformer_features(pixel_values=pixels)
        elif hasattr(self.model, "get_image_features"):
            found = self.model.get_image_features(pixel_values=pixels)
        else:
            found = self.model(pixel_values=pixels)
        return _vectors(found)


def _reads(model: Any) -> bool:
    """Whether a model of transformers embeds texts in the space of its image embeddings."""
    return hasattr(model, "get_text_features") and not hasattr(model, "get_qformer_features")


def _vectors(found: Any) -> torch.Tensor:
    """Embeddings ``(n, d)`` out of whatever a model of transformers gives."""
    if isinstance(found, torch.Tensor):
        return found
    pooled = getattr(found, "pooler_output", None)
    features: torch.Tensor = pooled if pooled is not None else found.last_hidden_state.mean(1)
    return features
