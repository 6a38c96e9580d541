"""Target objects as the generator draws them: by which model, from which prompt, seen as what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spinml.config import GenerationConfig, PromptConfig
from spinml.images import Photo
from spinml.pipeline.stages import Stage
from spinml.synthesis.checkpoint import Checkpoint
from spinml.synthesis.prompts import Prompts

UNET = "unet"
"""The folder of a fine-tuning or merge artifact that holds its UNet."""


@dataclass(frozen=True)
class Subject:
    """One target object.

    Attributes:
        segment: its segment's name, "target", "target_2", …
        words: what it is.
        labels: what it may be doing; none: it is drawn without a status.
        unet: what draws it.
        tuned: whether ``unet`` was fine-tuned on it.
    """

    segment: str
    words: str
    labels: Sequence[str]
    unet: Any
    tuned: bool
    prompts: Prompts

    def prompt(self, label: int) -> str:
        """What it is drawn from in an image of class ``label``."""
        if not self.labels:
            return self.prompts.unlabelled(self.words, tuned=self.tuned)
        return self.prompts.labelled(self.words, self.labels[label], tuned=self.tuned)

    def agrees(
        self,
        checkpoint: Checkpoint,
        settings: GenerationConfig,
        images: Sequence[Photo],
        labels: Sequence[int],
    ) -> list[bool]:
        """Whether the text-image encoder sees the object in each image, doing what was wanted.

        The negatives stand among the prompts: a softmax over the wanted ones alone passes
        anything. Without a status, the object's plain prompt stands against the negatives.

        Raises:
            CheckpointError: it has no text-image encoder, and a label check is configured.
        """
        least = settings.min_label_probability
        if least <= 0:
            return [True] * len(images)
        encoder = checkpoint.judge("generation.min_label_probability to 0")
        if self.labels:
            wanted = self.prompts.object_by_class(self.words, self.labels, tuned=False)
            columns = list(labels)
        else:
            wanted = [self.prompts.unlabelled(self.words, tuned=False)]
            columns = [0] * len(images)
        probabilities = encoder.guess(images, [*wanted, *settings.negatives])
        pairs = zip(probabilities, columns, strict=True)
        return [bool(row[column] >= least) for row, column in pairs]


def load_subject(checkpoint: Checkpoint, stage: Stage, inputs: Mapping[str, Path]) -> Subject:
    """The target object of a DRAW stage; it is drawn by its input "unet" or by the base model."""
    params, tuned = stage.params, inputs.get("unet")
    return Subject(
        segment=params["segment"],
        words=params["words"],
        labels=tuple(params["label_classes"]),
        unet=checkpoint.unet if tuned is None else checkpoint.load_unet(tuned / UNET),
        tuned=tuned is not None,
        prompts=Prompts(PromptConfig.model_validate(params["prompts"])),
    )
