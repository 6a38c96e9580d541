"""The vision models that SIM embeds with (eq. 2): the bundled one, or one of the hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from transformers import AutoImageProcessor, AutoModel

from spinml.config import ServerConfig
from spinml.errors import CheckpointError
from spinml.images import Photo
from spinml.privacy.similarity import Embeddings, OnnxEmbedder, normalised
from spinml.synthesis.compute import select_device
from spinml.synthesis.identity import HOME, locate

Embedder = Callable[[Sequence[Photo]], Embeddings]
"""RGB images to L2-normalised embeddings ``(n, d)``."""
_BATCH = 16
_BUNDLED = "text_image/embedder.onnx"


def load_embedder(config: ServerConfig) -> Embedder:
    """The embedder that ``config.measure`` names.

    ``home`` is the ONNX embedder in the checkpoint's folder, which the device has too; anything
    else a folder or hub name of CLIP, DINOv2 or BLIP-2 for transformers.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    name = config.measure.embedder
    if name != HOME:
        return HubEmbedder(name)
    folder = locate(config.checkpoint.base)
    path = (locate(HOME) if folder is None else folder) / _BUNDLED  # type: ignore[operator]
    if not path.is_file():
        raise CheckpointError(
            f"the checkpoint has no {_BUNDLED}",
            remedy="set measure.embedder to a hub name or folder of CLIP, DINOv2 or BLIP-2",
        )
    return OnnxEmbedder(path)


class HubEmbedder:
    """An image tower of transformers.

    CLIP gives its projected image features, BLIP-2 the mean of its query features, DINOv2 and
    others their pooled output.
    """

    def __init__(self, name: str) -> None:
        try:
            self.processor = AutoImageProcessor.from_pretrained(name)
            self.model = AutoModel.from_pretrained(name).eval()
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"the embedder {name!r} cannot be loaded: {type(error).__name__}",
                remedy="check the name and the network, or set measure.embedder to home",
            ) from error
        self.device = select_device("auto")
        self.model.to(self.device)

    def __call__(self, photos: Sequence[Photo]) -> Embeddings:
        """L2-normalised embeddings of RGB ``photos``, shape ``(n, d)``."""
        batches = [photos[at : at + _BATCH] for at in range(0, len(photos), _BATCH)]
        return np.concatenate([self._embed(batch) for batch in batches])

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
        if isinstance(found, torch.Tensor):
            return found
        pooled = getattr(found, "pooler_output", None)
        features: torch.Tensor = pooled if pooled is not None else found.last_hidden_state.mean(1)
        return features
