"""Small valid bundles, none like another."""

from __future__ import annotations

import numpy as np

from spinml.bundle import BundleLimits, SanitizedBundle, SanitizedSegment
from spinml.images import encode_png
from spinml.privacy.rules import make_bundle
from spinml.request import Scheme, TrainingRequest

SIZE_PX = 64


def bundle_of(seed: int) -> SanitizedBundle:
    """A small valid bundle that shares no artifact with one of another seed: words alone, or a
    cut-out disc of noise."""
    scheme = (Scheme.L0, Scheme.L2)[seed % 2]
    target, background = f"dog {seed}", f"bedroom {seed}"
    request = TrainingRequest.model_validate(
        {
            "target_object": target,
            "background": background,
            "training_objective": "what is my dog doing?",
            "label_classes": ["sitting", "sleeping"],
            "privacy": {"target": scheme},
            "images_per_class": 4,
            "seed": seed,
        }
    )
    images = (_disc(seed),) if scheme is Scheme.L2 else ()
    segments = (
        SanitizedSegment(name="target", scheme=scheme, text=target, images=images),
        SanitizedSegment(name="background", scheme=Scheme.L0, text=background),
    )
    return make_bundle({"request": request, "segments": segments}, BundleLimits())


def _disc(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(1, 255, (SIZE_PX, SIZE_PX, 4), dtype=np.uint8)
    rows, columns = np.mgrid[:SIZE_PX, :SIZE_PX] - SIZE_PX // 2
    outside = rows**2 + columns**2 >= (SIZE_PX // 3) ** 2
    pixels[..., 3] = 255
    pixels[outside] = 0
    return encode_png(pixels)
