"""The generic baseline (§5.7, table 7): a classifier that knows the classes by their words alone.

A model of the hub (CLIP, SigLIP …) or the bundled text-image encoder scores a photo against one
prompt a class. It runs where the labelled photos lie and sends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForZeroShotImageClassification, AutoProcessor

from spinml.device.predictor import Evaluation, evaluate_photos
from spinml.errors import CheckpointError, ConfigError
from spinml.images import Photo
from spinml.pipeline.local_files import HOME, home_folder
from spinml.request import TrainingRequest
from spinml.synthesis.compute import select_device
from spinml.synthesis.identity import locate
from spinml.synthesis.text_image import TextImageEncoder

TEMPLATE = "a {object} is {label} in a {background}"
"""How a scene is captioned (spinml.home.captions); also plain English for models of the hub."""
_FIELDS = {"object", "label", "background"}
_BATCH = 16

Probabilities = npt.NDArray[np.float32]
Scorer = Callable[[Sequence[Photo], Sequence[str]], Probabilities]
"""RGB photos ``(H, W, 3)`` and prompts to the probability of each prompt, ``(n, prompts)``."""


@dataclass(frozen=True)
class Baseline:
    """What a generic model scored on labelled photos."""

    model: str
    prompts: tuple[str, ...]
    """One a class, in the order of ``evaluation.classes``."""
    evaluation: Evaluation

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: the evaluation's figures beside the model and the prompts."""
        return {"model": self.model, "prompts": list(self.prompts)} | self.evaluation.as_dict()


def measure_baseline(
    request: TrainingRequest, labelled: Path, *, model: str = HOME, template: str = TEMPLATE
) -> Baseline:
    """Score ``model`` on ``labelled`` as a specialised model is: same photos, same figures.

    Args:
        labelled: a folder with one sub-folder of photos for each class of ``request``.
        model: ``home``, a local folder or a hub name, for transformers'
            AutoModelForZeroShotImageClassification.
        template: of the prompts; see :func:`class_prompts`.

    Raises:
        ConfigError: the template is not one.
        CheckpointError: the model cannot be loaded.
        PhotoError: a sub-folder is no class, or there is no photo.
    """
    prompts = class_prompts(request, template)
    score = load_classifier(model)
    classes = request.label_classes
    evaluation = evaluate_photos(labelled, classes, lambda photos: score(photos, prompts))
    return Baseline(model, tuple(prompts), evaluation)


def class_prompts(request: TrainingRequest, template: str = TEMPLATE) -> list[str]:
    """A prompt for each class: ``{label}``, and if wanted ``{object}`` and ``{background}``.

    Raises:
        ConfigError: another field, none for the label, or broken braces.
    """
    try:
        fields = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise ConfigError(
            f"the prompt template is broken: {error}", remedy=_TEMPLATE_HELP
        ) from None
    if "label" not in fields or not fields <= _FIELDS:
        raise ConfigError(
            f"the prompt template has the fields {sorted(fields)}, wanted label and, if you like, "
            "object and background",
            remedy=_TEMPLATE_HELP,
        )
    words = {"object": request.target_object, "background": request.background}
    return [template.format(label=label, **words) for label in request.label_classes]


_TEMPLATE_HELP = f"write it like {TEMPLATE!r}"


def load_classifier(name: str) -> Scorer:
    """A zero-shot classifier: ``home``, a local folder or a hub name.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    if name == HOME:
        return TextImageEncoder.load(home_folder() / "text_image").guess
    return HubClassifier(name)


class HubClassifier:
    """Any model of transformers for zero-shot image classification, such as CLIP or SigLIP."""

    def __init__(self, name: str) -> None:
        self.device = select_device("auto")
        self.processor, self.model = load_parts(name, AutoModelForZeroShotImageClassification)
        self.model.to(self.device)
        text = self.model.config.get_text_config()
        self.tokens = int(text.max_position_embeddings)

    def __call__(self, photos: Sequence[Photo], prompts: Sequence[str]) -> Probabilities:
        """Softmax over ``prompts``, shape ``(n, prompts)``; longer prompts are cut."""
        rows = [np.zeros((0, len(prompts)), np.float32)]
        for at in range(0, len(photos), _BATCH):
            inputs = self.processor(
                images=list(photos[at : at + _BATCH]),
                text=list(prompts),
                padding="max_length",  # SigLIP was trained so; CLIP does not mind
                max_length=self.tokens,
                truncation=True,
                return_tensors="pt",
            ).to(self.device)
            with torch.inference_mode():
                logits = self.model(**inputs).logits_per_image
            rows.append(logits.float().softmax(dim=-1).cpu().numpy())
        return np.concatenate(rows)


def load_parts(name: str, kind: Any) -> tuple[Any, Any]:
    """The processor and the model ``kind.from_pretrained``, ready to infer on the CPU.

    Raises:
        CheckpointError: one of them cannot be loaded.
    """
    place = locate(name) or name
    try:
        model = kind.from_pretrained(place, use_safetensors=True)
        return AutoProcessor.from_pretrained(place), model.eval()
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"the generic model {name!r} cannot be loaded by {kind.__name__}: "
            f"{type(error).__name__}",
            remedy="check the name and the network, or name a local folder or “home”",
        ) from error
