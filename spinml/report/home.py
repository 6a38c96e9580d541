"""What only the device knows, put together for the report. It is rendered at home, never sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spinml.device.described import described
from spinml.device.detection_evaluation import DetectionEvaluation
from spinml.device.measures import SegmentMeasures
from spinml.device.predictor import Evaluation
from spinml.device.preview import summarise
from spinml.images import Photo, encode_png, resize
from spinml.privacy.leakage import Leakage
from spinml.privacy.private import SegmentedPhoto
from spinml.privacy.sanitizer import Sanitized, private_segments
from spinml.report.model import HomeReport, LeakageRow, SegmentDisclosure

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
        measures: by segment name, of those that could be measured.
        evaluation: on labelled private photos; None where there are none.
    """
    request = sanitized.bundle.request
    private = private_segments(request, photos[:SHOWN])
    told = summarise(sanitized.bundle, leakage)
    return HomeReport(
        segments=tuple(
            SegmentDisclosure(
                name=segment.name,
                scheme=segment.scheme,
                what=item.what,
                words=segment.text,
                private=tuple(_thumbnail(image) for image in private[segment.name]),
                sent=segment.images[:SHOWN],
            )
            for segment, item in zip(sanitized.bundle.segments, told, strict=True)
        ),
        leakage=tuple(
            LeakageRow(
                segment=name,
                words=request.words_of(name),
                schemes=request.disclosed(name),
                histogram=mi.histogram,
                regional=mi.regional,
                sim=measures[name].sim if name in measures else None,
            )
            for name, mi in leakage.segments.items()
        ),
        beyond=described(measures),
        evaluation=evaluation.as_dict() if evaluation else None,
    )


def _thumbnail(image: Photo) -> bytes:
    height, width = image.shape[:2]
    scale = THUMBNAIL_PX / max(height, width)
    return encode_png(resize(image, round(width * scale), round(height * scale)))
