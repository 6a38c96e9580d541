"""The generic baseline for detection (§5.7, table 7): boxes for words, without training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForZeroShotObjectDetection

from spinml.errors import CheckpointError
from spinml.images import Photo
from spinml.pipeline.local_files import HOME
from spinml.synthesis.compute import select_device
from spinml.training.zero_shot import load_parts


@dataclass(frozen=True)
class Detections:
    """What was found on one photo, most certain first.

    Attributes:
        boxes: float32 ``(n, 4)``: left, top, right, bottom in the photo's pixels, within it.
        scores: float32 ``(n,)`` in [0, 1].
        labels: int64 ``(n,)``, each the index of a prompt.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


class ZeroShotDetector:
    """A model of transformers for zero-shot object detection: OWL-ViT, OWLv2, Grounding DINO.

    Args:
        name: a local folder or a hub name.
        threshold: least score of a box. Low by default: average precision wants the uncertain
            ones, too.

    Raises:
        CheckpointError: it cannot be loaded, or is ``home``, which cannot detect.
    """

    def __init__(self, name: str, *, threshold: float = 0.01) -> None:
        if name == HOME:
            raise CheckpointError(
                "the bundled text-image encoder “home” scores whole photos; it cannot detect",
                remedy="name an OWL-ViT, OWLv2 or Grounding DINO: a local folder or a hub name",
            )
        self.threshold = threshold
        self.device = select_device("auto")
        self.processor, self.model = load_parts(name, AutoModelForZeroShotObjectDetection)
        self.model.to(self.device)

    def detect(self, photos: Sequence[Photo], prompts: Sequence[str]) -> list[Detections]:
        """Boxes of every prompt on RGB ``photos``, each ``(H, W, 3)``.

        Each prompt is asked for by itself: Grounding DINO joins the words of prompts that stand
        together, and a prompt's boxes must not depend on the others.
        """
        return [self._detect(photo, prompts) for photo in photos]

    def _detect(self, photo: Photo, prompts: Sequence[str]) -> Detections:
        parts = [self._boxes(photo, prompt) for prompt in prompts]
        boxes = np.concatenate([np.zeros((0, 4), np.float32), *(found for found, _ in parts)])
        scores = np.concatenate([np.zeros(0, np.float32), *(found for _, found in parts)])
        counts = [len(found) for _, found in parts]
        labels = np.repeat(np.arange(len(parts), dtype=np.int64), counts)
        order = np.argsort(-scores, kind="stable")
        return Detections(boxes[order], scores[order], labels[order])

    def _boxes(
        self, photo: Photo, prompt: str
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Boxes ``(n, 4)`` and scores ``(n,)`` of one prompt on one photo."""
        height, width = photo.shape[:2]
        inputs = self.processor(images=photo, text=[[prompt]], return_tensors="pt").to(self.device)
        with torch.inference_mode():
            outputs = self.model(**inputs)
        (found,) = self.processor.post_process_grounded_object_detection(
            outputs,
            threshold=self.threshold,
            target_sizes=[(height, width)],
            text_labels=[[prompt]],
        )
        boxes = found["boxes"].float().cpu().numpy().reshape(-1, 4)
        inside = boxes.clip(0, [width, height, width, height]).astype(np.float32)
        return inside, found["scores"].float().cpu().numpy()
