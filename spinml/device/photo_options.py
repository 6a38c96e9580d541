"""What every command that reads photos takes: declared once, as the fields of :class:`Given`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, cast, get_args, get_type_hints

import typer

from spinml.bundle import BundleLimits, HoleMode
from spinml.device.feature_models import open_models
from spinml.device.photos import Loaded, load_photos
from spinml.errors import InvalidRequestError
from spinml.privacy.leakage import Leakage, measure_leakage
from spinml.privacy.sanitizer import Sanitized, sanitize
from spinml.privacy.usable import Skipped
from spinml.request import TrainingRequest, load_request

RequestFile = Annotated[Path, typer.Argument(metavar="REQUEST.yaml", help="What is asked for.")]
Photos = Annotated[list[Path] | None, typer.Argument(metavar="PHOTO…", help="Camera photos.")]
Masks = Annotated[
    list[Path] | None,
    typer.Option(
        "--mask",
        help="PNG, neither black nor transparent where the target object is; once for each photo. "
        "With several target objects once for each photo and object: all of the first photo, in "
        "the request's order, then all of the second. A black one says that the object is not on "
        "the photo.",
    ),
]
Hole = Annotated[
    str, typer.Option("--hole", help="How the target's place leaves an L2 background.")
]
SegmenterFile = Annotated[
    Path | None, typer.Option("--segmenter", help="YOLOv8-seg ONNX; the bundled one if not given.")
]
KeypointFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--keypoints",
        help="The pose, as OpenPose's JSON (COCO's 18); once for each photo. It is that of the "
        "target object whose feature is pose.",
    ),
]
PoseModelFile = Annotated[
    Path | None,
    typer.Option("--pose-model", envvar="SPINML_POSE_MODEL", help="YOLOv8-pose ONNX, for pose."),
]
DepthModelFile = Annotated[
    Path | None,
    typer.Option(
        "--depth-model",
        envvar="SPINML_DEPTH_MODEL",
        help="MiDaS or Depth Anything ONNX, for depth.",
    ),
]


@dataclass(frozen=True)
class Given:
    """A request, photos, and what their segmentation and features may need."""

    request: RequestFile
    photos: Photos = None
    mask: Masks = None
    hole: Hole = "inpaint"
    segmenter: SegmenterFile = None
    keypoints: KeypointFiles = None
    pose_model: PoseModelFile = None
    depth_model: DepthModelFile = None


def takes_photos(command: Callable[..., None]) -> Callable[..., None]:
    """Let ``command(given: Given, …)`` be called, by typer too, with Given's fields in its place.

    The parameters' order is the fields', then the command's own.
    """
    parameters = inspect.signature(command).parameters
    own = [parameter for name, parameter in parameters.items() if name != "given"]
    taken = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(Given).parameters.values()
    ]
    keywords = [item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in own]

    @functools.wraps(command)
    def wrapped(**arguments: Any) -> None:
        given = Given(**{item.name: arguments.pop(item.name) for item in taken})
        command(given=given, **arguments)

    hints = get_type_hints(Given, include_extras=True)
    hints |= get_type_hints(command, include_extras=True)
    del hints["given"]
    wrapped.__annotations__ = hints
    wrapped.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [item.replace(annotation=hints[item.name]) for item in (*taken, *keywords)]
    )
    return wrapped


def sanitized_photos(given: Given) -> tuple[TrainingRequest, Loaded, Sanitized]:
    """Read, segment and sanitize."""
    mode = _hole_mode(given.hole)
    request = load_request(given.request)
    models = open_models(request, pose=given.pose_model, depth=given.depth_model)
    loaded = load_photos(
        request,
        given.photos or [],
        masks=given.mask or [],
        keypoints=given.keypoints or [],
        segmenter=given.segmenter,
        limits=BundleLimits(),
    )
    return request, loaded, sanitize(request, loaded.photos, hole=mode, models=models)


def prepare(given: Given) -> tuple[Sanitized, Leakage]:
    """Read, segment, sanitize and measure; photos are :func:`numbered` by the files."""
    _, loaded, sanitized = sanitized_photos(given)
    return numbered(loaded, sanitized), measure_leakage(sanitized)


def numbered(loaded: Loaded, sanitized: Sanitized) -> Sanitized:
    """``sanitized`` for people: by places among the files given, with all that were left out."""
    sources = loaded.sources
    unfit = [Skipped(sources[item.index], item.reason) for item in sanitized.skipped]
    return replace(
        sanitized,
        views=tuple(replace(view, index=sources[view.index]) for view in sanitized.views),
        skipped=tuple(sorted([*loaded.skipped, *unfit], key=lambda item: item.index)),
    )


def _hole_mode(hole: str) -> HoleMode:
    if hole not in get_args(HoleMode):
        raise InvalidRequestError(
            f"no hole mode {hole!r}", remedy=f"choose one of: {', '.join(get_args(HoleMode))}"
        )
    return cast(HoleMode, hole)
