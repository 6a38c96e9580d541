"""What each scheme allows a bundle to hold: checked before sending and again on arrival (§3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from spinml.bundle import BundleLimits, SanitizedBundle, SanitizedSegment, decode_png, seal
from spinml.errors import (
    BundleLimitError,
    PreferenceViolationError,
    UnknownFeatureError,
    UnknownSchemeError,
)
from spinml.privacy.extractor import Extractor
from spinml.privacy.features import get_feature
from spinml.privacy.plugins import check_image, get_scheme
from spinml.request import BACKGROUND, Scheme, TrainingRequest

CUTOUT_FRAME = 0.04
"""The empty frame around every cut-out, as a share of its side; images.cut_out leaves more."""


def make_bundle(data: Mapping[str, Any], limits: BundleLimits) -> SanitizedBundle:
    """The checked bundle of ``{"request": …, "segments": [...]}``: the only door to the type.

    Raises:
        pydantic.ValidationError: fields missing, unknown or of the wrong type.
        BundleLimitError: over ``limits``.
        MalformedBundleError: an image is not a whole, plain PNG.
        PreferenceViolationError: content that the declared scheme does not allow, or a feature or
            scheme that is not installed here.
        PluginError: a plugin's check failed.
    """
    bundle = seal(data)
    check_bundle(bundle, limits)
    return bundle


def check_bundle(bundle: SanitizedBundle, limits: BundleLimits) -> None:
    """Return when ``bundle`` holds what its preferences need together and nothing else.

    Raises: as :func:`make_bundle`, but for pydantic's.
    """
    _check_segments(bundle)
    _check_sizes(bundle, limits)
    for segment in bundle.segments:
        _check_words(segment, bundle.request)
        _CHECKS[segment.scheme](segment, bundle.request, limits)


def _check_segments(bundle: SanitizedBundle) -> None:
    """Each segment of the request once for each scheme that it is disclosed in."""
    request = bundle.request
    for segment in bundle.segments:
        if segment.name in request.segments:
            _check_scheme(segment, request)
    wanted = [f"{name} at {scheme}" for name, scheme in request.disclosures]
    names = [f"{segment.name} at {segment.scheme}" for segment in bundle.segments]
    if sorted(names) != sorted(wanted):
        shown = ", ".join(names[: len(wanted) + 1]) or "none"
        raise PreferenceViolationError(
            f"the bundle has {len(names)} segment(s), {shown}; "
            f"it must have {', '.join(wanted)}, once each"
        )


def _check_scheme(segment: SanitizedSegment, request: TrainingRequest) -> None:
    declared = request.disclosed(segment.name)
    if segment.scheme not in declared:
        _refuse(
            segment,
            f"it came at {segment.scheme}, the request's preference is {' and '.join(declared)}",
        )


def _check_sizes(bundle: SanitizedBundle, limits: BundleLimits) -> None:
    for segment in bundle.segments:
        count = len(segment.images)
        if count > limits.max_images_per_segment:
            raise BundleLimitError(
                f"{segment.name} has {count} images, at most "
                f"{limits.max_images_per_segment} are taken",
                remedy="choose fewer photos",
            )
    total = sum(len(image) for segment in bundle.segments for image in segment.images)
    if total > limits.max_body_bytes:
        raise BundleLimitError(
            f"the images have {total} bytes, at most {limits.max_body_bytes} are taken",
            remedy="choose fewer photos",
        )


def _check_words(segment: SanitizedSegment, request: TrainingRequest) -> None:
    if segment.text != request.words_of(segment.name):
        _refuse(segment, "its text is not the request's word for it")


def _check_l0(segment: SanitizedSegment, request: TrainingRequest, limits: BundleLimits) -> None:
    if segment.images or segment.feature is not None or segment.hole is not None:
        _refuse(segment, f"L0 sends words alone, it has {len(segment.images)} image(s) or settings")


def _check_l1(segment: SanitizedSegment, request: TrainingRequest, limits: BundleLimits) -> None:
    wanted = request.feature_of(segment.name)
    if segment.feature != wanted:
        got = "no feature" if segment.feature is None else "another feature"
        _refuse(segment, f"it declares {got}, the request names {wanted}")
    if segment.hole is not None:
        _refuse(segment, "a feature map has no hole")
    _require_images(segment)
    try:
        feature = get_feature(wanted)
    except UnknownFeatureError as error:
        raise PreferenceViolationError(
            f"{segment.name}: {error.message}", remedy=error.remedy
        ) from None
    for index, image in enumerate(segment.images):
        _check_kind(segment, index, feature, decode_png(image, limits))


def _check_l2(segment: SanitizedSegment, request: TrainingRequest, limits: BundleLimits) -> None:
    if segment.feature is not None:
        _refuse(segment, "L2 sends pixels, it also declares a feature")
    if (segment.hole is None) == (segment.name == BACKGROUND):
        _refuse(segment, "a background declares its hole and a target object has none")
    _require_images(segment)
    scheme = _scheme_of(segment, request)
    for index, image in enumerate(segment.images):
        pixels = decode_png(image, limits)
        if pixels.ndim != 3 or pixels.shape[2] != 4:
            _refuse(segment, f"image {index} is not RGBA")
        if np.any(pixels[pixels[..., 3] == 0]):
            _refuse(segment, f"image {index} hides colours where it is transparent")
        if segment.name == BACKGROUND:
            _check_hole(segment, index, pixels)
        else:
            _check_cut_out(segment, index, pixels)
        if scheme is not None:
            _check_kind(segment, index, scheme, pixels)


def _scheme_of(segment: SanitizedSegment, request: TrainingRequest) -> Extractor | None:
    """The plugin scheme that the request names for L2's pixels; None when it names none."""
    name = request.schemes.get(segment.name)
    if name is None:
        return None
    try:
        return get_scheme(name)
    except UnknownSchemeError as error:
        raise PreferenceViolationError(
            f"{segment.name}: {error.message}", remedy=error.remedy
        ) from None


def _check_kind(
    segment: SanitizedSegment, index: int, extractor: Extractor, pixels: npt.NDArray[np.uint8]
) -> None:
    try:
        check_image(extractor, pixels)
    except PreferenceViolationError as error:
        raise PreferenceViolationError(
            f"{segment.name}, image {index}: {error.message}", remedy=error.remedy
        ) from None


def _check_cut_out(segment: SanitizedSegment, index: int, pixels: npt.NDArray[np.uint8]) -> None:
    """A cut-out stands clear of its frame; a raw photo fills it."""
    alpha = pixels[..., 3]
    edge = max(1, int(CUTOUT_FRAME * min(alpha.shape)))
    inner = alpha[edge:-edge, edge:-edge]
    if np.count_nonzero(inner) != np.count_nonzero(alpha):
        _refuse(segment, f"image {index} is no cut-out: its outer {edge} pixels are not empty")
    if not inner.any():
        _refuse(segment, f"image {index} is empty")


def _check_hole(segment: SanitizedSegment, index: int, pixels: npt.NDArray[np.uint8]) -> None:
    opaque = bool(np.all(pixels[..., 3] == 255))
    if segment.hole == "inpaint" and not opaque:
        _refuse(segment, f"image {index} has transparent pixels, its hole is declared filled")
    if segment.hole != "inpaint" and opaque:
        _refuse(segment, f"image {index} has no hole where the target object was")


def _require_images(segment: SanitizedSegment) -> None:
    if not segment.images:
        _refuse(segment, f"{segment.scheme} needs at least one image, it has none")


def _refuse(segment: SanitizedSegment, why: str) -> NoReturn:
    raise PreferenceViolationError(
        f"{segment.name}: {why}", remedy="send what spinml's sanitizer makes of the same request"
    )


_CHECKS = {Scheme.L0: _check_l0, Scheme.L1: _check_l1, Scheme.L2: _check_l2}
