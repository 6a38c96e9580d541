"""The text-image encoder of a checkpoint: embeddings and zero-shot guesses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

Image = NDArray[np.uint8]
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class TextImageEncoder:
    """Images and texts in one space of L2-normalised vectors with ``d`` dimensions.

    Attributes:
        session: the image tower, float RGB in [0, 1] ``(b, 3, size_px, size_px)`` to ``(b, d)``.
        text: the text tower with its projection.
        size_px: side to which images are resized.
        logit_scale: factor on the cosine before a softmax.
    """

    session: onnxruntime.InferenceSession
    text: CLIPTextModelWithProjection
    tokenizer: CLIPTokenizer
    size_px: int
    logit_scale: float

    @classmethod
    def load(cls, folder: Path) -> TextImageEncoder:
        """Load from a folder with `text_image.json`, `embedder.onnx`, text tower and tokenizer."""
        description = folder / "text_image.json"
        if not description.exists():
            raise FileNotFoundError(
                f"{folder} is no text-image encoder: it has no text_image.json; "
                "wanted the folder text_image/ of a checkpoint"
            )
        settings = json.loads(description.read_text())
        session = onnxruntime.InferenceSession(
            str(folder / "embedder.onnx"), providers=["CPUExecutionProvider"]
        )
        text = CLIPTextModelWithProjection.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True
        )
        tokenizer = CLIPTokenizer.from_pretrained(folder)
        return cls(session, text.eval(), tokenizer, settings["size_px"], settings["logit_scale"])

    def encode_images(self, images: Sequence[Image], batch: int = 32) -> Vectors:
        """Embeddings of RGB images ``(h, w, 3)`` of any sizes, shape ``(n, d)``."""
        parts = [
            self._encode_batch(images[start : start + batch])
            for start in range(0, len(images), batch)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self.dimensions), np.float32)

    def _encode_batch(self, images: Sequence[Image]) -> Vectors:
        side = (self.size_px, self.size_px)
        pixels = [cv2.resize(image, side, interpolation=cv2.INTER_AREA) for image in images]
        stacked = np.stack(pixels).transpose(0, 3, 1, 2).astype(np.float32) / 255
        (name,) = (entry.name for entry in self.session.get_inputs())
        vectors: Vectors = self.session.run(None, {name: stacked})[0]
        return vectors

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Embeddings of texts, shape ``(n, d)``; longer texts than the tower reads are cut."""
        if not texts:
            return np.zeros((0, self.dimensions), np.float32)
        ids = self.tokenizer(
            list(texts), padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        vectors = self.text(input_ids=ids).text_embeds
        normalised: Vectors = torch.nn.functional.normalize(vectors, dim=-1).numpy()
        return normalised

    def guess(self, images: Sequence[Image], prompts: Sequence[str]) -> Vectors:
        """Probability of each prompt for each image, shape ``(n, len(prompts))``, rows sum to 1.

        Give negatives among the prompts: a softmax over the wanted labels alone is always sure.
        """
        if not prompts:
            raise ValueError("guess got no prompts, wanted at least one")
        scores = self.logit_scale * self.encode_images(images) @ self.encode_texts(prompts).T
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        probabilities: Vectors = powers / powers.sum(axis=1, keepdims=True)
        return probabilities

    @property
    def dimensions(self) -> int:
        """Size of an embedding."""
        return int(self.text.config.projection_dim)
