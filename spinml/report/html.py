"""The report as one self-contained HTML file: no script, nothing fetched."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from spinml import __version__
from spinml.report import plots
from spinml.report.model import HomeReport, RunReport, SegmentDisclosure
from spinml.request import PrivacyPreference, Scheme, Task, TrainingRequest


def render_server_report(report: RunReport) -> str:
    """The server's side alone: nothing that only the device knows."""
    return _render(report, None)


def render_home_report(report: RunReport, home: HomeReport) -> str:
    """The whole story, rendered at home: what stayed, what left, what came back."""
    return _render(report, home)


def _render(report: RunReport, home: HomeReport | None) -> str:
    environment = Environment(
        loader=PackageLoader("spinml.report"), autoescape=True, undefined=StrictUndefined
    )
    template = environment.get_template("report.html.j2")
    request = report.request
    return template.render(
        title=f"A model for one job: {' and '.join(request.target_objects)} in the "
        f"{request.background}",
        preferences=[_preference(request, each) for each in request.preferences],
        version=__version__,
        request=request,
        detects=request.task is Task.DETECTION,
        run=_run_view(report),
        home=_home_view(report, home) if home else None,
    )


def _declared(request: TrainingRequest, segment: str, scheme: Scheme) -> str:
    """A segment's scheme with what the request says of it: "L1 (pose)", "L2 (noise σ 10)"."""
    more = ""
    if scheme is Scheme.L1:
        more = request.feature_of(segment)
    elif scheme is Scheme.L2 and segment in request.noise:
        more = f"noise σ {request.noise[segment]:g}"
    elif scheme is Scheme.L2 and segment in request.schemes:
        more = request.schemes[segment]
    return f"{scheme} ({more})" if more else str(scheme)


def _run_view(report: RunReport) -> dict[str, Any]:
    classes = report.request.label_classes
    done = [stage for stage in report.stages if stage.state != "waiting"]
    labels = [s.label + (" (reused)" if s.state == "reused" else "") for s in done]
    return {
        "id": report.run_id,
        "images": report.images,
        "rejected": report.rejected,
        "datasets": report.datasets,
        "best_validation": report.best_validation,
        "total": duration(report.seconds),
        "references": {
            name: [_data_uri(image) for image in images]
            for name, images in report.references.items()
            if images
        },
        "samples": {
            name: [_data_uri(image) for image in images] for name, images in report.samples.items()
        },
        "curves": _curves(report),
        "confusion": plots.confusion_matrix(report.confusion, classes) if report.confusion else "",
        "times": plots.stage_times(labels, [stage.seconds for stage in done]),
    }


def _home_view(report: RunReport, home: HomeReport) -> dict[str, Any]:
    evaluation = home.evaluation
    if evaluation is not None and "confusion" in evaluation:
        picture = plots.confusion_matrix(evaluation["confusion"], report.request.label_classes)
        evaluation = {**evaluation, "confusion": picture}
    return {
        "segments": [_segment_view(segment) for segment in home.segments],
        "leakage": home.leakage,
        "beyond": home.beyond,
        "evaluation": evaluation,
    }


def _curves(report: RunReport) -> str:
    if not report.history:
        return ""
    detects = report.request.task is Task.DETECTION
    plot = plots.detection_curves if detects else plots.training_curves
    return plot([epoch.model_dump() for epoch in report.history])


def _segment_view(segment: SegmentDisclosure) -> dict[str, Any]:
    return {
        "name": segment.name,
        "title": segment.name.replace("_", " ").capitalize(),
        "scheme": segment.scheme.value,
        "meaning": f"the words and {segment.what}" if segment.sent else segment.what,
        "words": segment.words,
        "private": _encoded(segment.private),
        "sent": _encoded(segment.sent),
    }


def _preference(request: TrainingRequest, preference: PrivacyPreference) -> list[tuple[str, str]]:
    """(segment's words, scheme and what the request says of it) of every segment."""
    return [
        (request.words_of(name), _declared(request, name, preference.of(name)))
        for name in request.segments
    ]


def _encoded(images: Iterable[bytes]) -> list[str]:
    return [_data_uri(base64.b64encode(image).decode()) for image in images]


def _data_uri(png_base64: str) -> str:
    return f"data:image/png;base64,{png_base64}"


def duration(seconds: float) -> str:
    """``75.2`` → ``1 min 15 s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
