"""A synthetic dataset in the layout that ultralytics trains from; the boxes by construction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import yaml

from spinml.errors import StageError
from spinml.synthesis.dataset import export_yolo, target_objects

_SAMPLES = 64


@dataclass(frozen=True)
class DetectionData:
    """Images and labels on disk.

    Attributes:
        description: the YAML file that ultralytics reads.
        classes: the target objects, by their number in the labels.
        training, validation: the image files of either part, in order.
    """

    description: Path
    classes: list[str]
    training: list[Path]
    validation: list[Path]


def write_detection_data(
    datasets: Sequence[Path], out: Path, validation_share: float
) -> DetectionData:
    """Write the shards of all ``datasets`` into ``out``; which images validate their seeds fix.

    Raises:
        StageError: one of the two parts would be empty.
    """
    first, *more = datasets
    export_yolo(first, out, validation_share=validation_share, more=more)
    parts = {part: sorted((out / "images" / part).iterdir()) for part in ("train", "val")}
    if not all(parts.values()):
        counts = " and ".join(f"{len(files)} for {part}" for part, files in parts.items())
        raise StageError(
            f"of the synthetic images, {counts}; at least 1 for each is wanted",
            remedy="raise images_per_class or detection.validation_share",
        )
    classes = target_objects(first)
    # Absolute, or ultralytics would look below its own data folder; numbers for names, for it asks
    # the network for another font when a name is not ASCII.
    content = yaml.safe_load((out / "data.yaml").read_text(encoding="utf-8"))
    content |= {"path": str(out.resolve()), "names": {n: str(n) for n in range(len(classes))}}
    description = out / "detection.yaml"
    description.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return DetectionData(description, classes, parts["train"], parts["val"])


def sample_images(
    files: Sequence[Path], image_px: int, at_most: int = _SAMPLES
) -> npt.NDArray[np.uint8]:
    """Square images spread evenly over ``files``: RGB ``(n, image_px, image_px, 3)``."""
    chosen = np.linspace(0, len(files) - 1, min(at_most, len(files))).round().astype(int)
    scaled = []
    for index in chosen:
        image = cv2.imread(str(files[index]), cv2.IMREAD_COLOR_RGB)
        scaled.append(cv2.resize(image, (image_px, image_px), interpolation=cv2.INTER_LINEAR))
    return np.stack(scaled)
