"""What a run tells about itself (RunReport) and what the device adds at home (HomeReport)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from spinml.device.described import DescribedFigure
from spinml.request import Scheme, Task, TrainingRequest


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Epoch(_Part):
    """One epoch of the specialised model's training; accuracies are shares."""

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float


class DetectionEpoch(_Part):
    """One epoch of a detector's training; mAP50, precision and recall are shares."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_map50: float
    validation_precision: float
    validation_recall: float


class StageTime(_Part):
    """How long a stage took, and whether an earlier run's result served."""

    label: str
    state: str
    seconds: float
    digest: str = Field(default="", description="Of the stage's parameters and inputs.")
    kind: str = ""
    made_in_s: float | None = Field(
        default=None, description="What it took whichever run executed it; null once it is erased."
    )


class DatasetPart(_Part):
    """One synthetic dataset, made under one of the request's preferences."""

    preference: str
    """As :class:`spinml.request.PrivacyPreference` reads: "(L2, L0)"."""
    images: int
    rejected: int = Field(description="Broken objects that were drawn again.")


class RunReport(_Part):
    """The server's side of a run. Images are PNG files in base64."""

    run_id: str
    request: TrainingRequest
    stages: tuple[StageTime, ...]
    images: int = Field(description="Synthetic images, of all datasets together.")
    rejected: int = Field(description="Broken objects that were drawn again, of all datasets.")
    datasets: tuple[DatasetPart, ...] = Field(
        default=(), description="One for each preference; the model is trained on all."
    )
    history: tuple[Epoch | DetectionEpoch, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = Field(
        default=(),
        description="A classifier's on held-out synthetic images: rows true, columns predicted.",
    )
    synthetic_utility: float | None = Field(
        default=None,
        description="Accuracy, or mAP50 of a detector, on held-out synthetic images: a share.",
    )
    synthetic_objects: dict[str, float] = Field(
        default_factory=dict, description="A detector's AP50 on them by target object."
    )
    samples: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="Synthetic images by class; of a detection with boxes."
    )
    references: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="What the diffusion model was fine-tuned on, by segment (and scheme, where a "
        "mixture needs several).",
    )

    @property
    def seconds(self) -> float:
        """Time of all stages together."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def best_validation(self) -> float | None:
        """Best validation accuracy, or mAP50 of a detector: a share; None before training."""
        values = (
            epoch.validation_map50
            if isinstance(epoch, DetectionEpoch)
            else epoch.validation_accuracy
            for epoch in self.history
        )
        return max(values, default=None)


def utility_figure(task: Task) -> str:
    """Which of MEASURE's figures is the utility on held-out synthetic images."""
    return "validation_map50" if task is Task.DETECTION else "validation_accuracy"


def synthetic_objects(task: Task, figures: Mapping[str, Any]) -> dict[str, float]:
    """A detector's AP50 on held-out synthetic images by target object; empty of a classifier.

    Args:
        figures: MEASURE's ``figures.json``.
    """
    if task is not Task.DETECTION:
        return {}
    return {name: one["ap50"] for name, one in figures["validation"]["per_class"].items()}


class SegmentDisclosure(_Part):
    """One segment at home beside what was sent of it; images are PNG bytes."""

    name: str
    scheme: Scheme
    what: str
    """What left, as the preview says it: feature, plugin's scheme, noise with σ and ε."""
    words: str
    private: tuple[bytes, ...] = Field(repr=False)
    sent: tuple[bytes, ...] = Field(repr=False)


class LeakageRow(_Part):
    """MI (eq. 1, shares of the segment's entropy) and SIM (eq. 2) of one segment."""

    segment: str
    words: str
    schemes: tuple[Scheme, ...]
    """In which it was sent."""
    histogram: float
    regional: float
    sim: float | None
    """None where no photo shows the object."""


class HomeReport(_Part):
    """What only the device knows. It is rendered at home and never sent."""

    segments: tuple[SegmentDisclosure, ...]
    leakage: tuple[LeakageRow, ...]
    beyond: tuple[DescribedFigure, ...]
    """What averages do not show: re-identification, copies, prompts."""
    evaluation: dict[str, Any] | None = None
    """As :meth:`spinml.device.predictor.Evaluation.as_dict` gives it, or
    :meth:`spinml.device.detection_evaluation.DetectionEvaluation.as_dict` of a detection."""
