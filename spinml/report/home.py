"""What only the device knows, put together for the report. It is rendered at home, never sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spinml.device.described import described
from spinml.device.detection_evaluation import DetectionEvaluation
from spinml.device.measures import SegmentMeasures
from spinml.device.predictor import Evaluation
from spinml.images import Photo, encode_png, resize
from spinml.privacy.leakage import Leakage
from spinml.privacy.private import SegmentedPhoto
from spinml.privacy.sanitizer import Sanitized, private_segments
from spinml.report.model import HomeReport, LeakageRow, SegmentDisclosure
from spinml.request import BACKGROUND, TARGET

SHOWN = 6
"""How many photos of each segment the report shows."""
THUMBNAIL_PX = 192


def build_home_report(
    photos: Sequence[SegmentedPhoto],
    sanitized: Sanitized,
    leakage: Leakage,
    measures: Mapping[str, SegmentMeasures],
    evaluation: Evaluation | DetectionEvaluation | None,
) -> HomeReport:
    """The device's part of the report.

    Args:
        photos: those that ``sanitized`` was made of.
        measures: by segment name.
        evaluation: on labelled private photos; None where there are none.
    """
    request = sanitized.bundle.request
    private = private_segments(photos[:SHOWN])
    measured = {TARGET: leakage.target, BACKGROUND: leakage.background}
    return HomeReport(
        segments=tuple(
            SegmentDisclosure(
                name=segment.name,
                scheme=segment.scheme,
                words=segment.text,
                private=tuple(_thumbnail(image) for image in private[segment.name]),
                sent=segment.images[:SHOWN],
            )
            for segment in sanitized.bundle.segments
        ),
        leakage=tuple(
            LeakageRow(
                segment=name,
                scheme=request.privacy.of(name),
                histogram=measured[name].histogram,
                regional=measured[name].regional,
                sim=measures[name].sim,
            )
            for name in (TARGET, BACKGROUND)
        ),
        beyond=described(measures),
        evaluation=evaluation.as_dict() if evaluation else None,
    )


def _thumbnail(image: Photo) -> bytes:
    height, width = image.shape[:2]
    scale = THUMBNAIL_PX / max(height, width)
    return encode_png(resize(image, round(width * scale), round(height * scale)))
