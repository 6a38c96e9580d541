"""What ``spinml device predict`` and ``evaluate`` print of a detector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer
from rich.markup import escape
from rich.table import Table

from spinml.device.detection_evaluation import DetectionEvaluation
from spinml.device.detector import CONFIDENCE, Detection, Detector
from spinml.device.drawing import draw_boxes
from spinml.device.files import writing
from spinml.device.terminal import People, print_json
from spinml.images import Photo, decode_photo, encode_png


def tell_detections(
    detector: Detector, photos: Sequence[Path], out: Path | None, as_json: bool
) -> None:
    """A line a box: photo, class, score, box; and the photos with boxes in ``out``, if given."""
    for number, path in enumerate(photos):
        photo = decode_photo(path)
        found = detector.detect(photo)
        if as_json:
            print_json({"photo": str(path), "detections": [one.as_dict() for one in found]})
        else:
            for one in found:
                box = " ".join(f"{side:.0f}" for side in one.box)
                typer.echo(f"{path}\t{one.label}\t{one.score:.1%}\t{box}")
            if not found:
                People.print(f"{path}: nothing above {CONFIDENCE:.0%}", markup=False)
        if out is not None:
            with writing("the photo with its boxes"):
                out.mkdir(parents=True, exist_ok=True)
                (out / f"{number:03d}_{path.stem}.png").write_bytes(encode_png(drawn(photo, found)))


def drawn(photo: Photo, found: Sequence[Detection]) -> Photo:
    """``photo`` ``(H, W, 3)`` with the boxes of ``found``, their classes and scores."""
    return draw_boxes(
        photo, [(one.box, one.index, f"{one.label} {one.score:.0%}") for one in found]
    )


def tell_detection_figures(evaluation: DetectionEvaluation, as_json: bool) -> None:
    """mAP50, and each class's figures."""
    figures = evaluation.as_dict()
    if as_json:
        print_json(figures)
        return
    typer.echo(
        f"mAP50 {evaluation.map50:.1%} ({figures['objects']} objects, {evaluation.photos} photos)"
    )
    table = Table("class", "objects", "AP50", "precision", "recall")
    for name, one in evaluation.per_class.items():
        precision = "none shown" if one.precision is None else f"{one.precision:.1%}"
        table.add_row(
            escape(name), str(one.objects), f"{one.ap50:.1%}", precision, f"{one.recall:.1%}"
        )
    People.print(table)
    People.print(f"Precision and recall: of boxes above {CONFIDENCE:.0%}, as predict shows them.")
    if evaluation.left_out:
        People.print(f"{evaluation.left_out} labelled objects are of classes it does not have.")
