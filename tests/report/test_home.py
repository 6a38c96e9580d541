"""The home's part of the report says what was measured, and what was not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spinml.device.measures import measure_segments
from spinml.images import resize
from spinml.privacy.leakage import measure_leakage
from spinml.privacy.sanitizer import private_segments, sanitize
from spinml.privacy.similarity import OnnxEmbedder
from spinml.report.home import build_home_report
from tests.device.models import colour_embedder
from tests.photos import ellipse, real_photos, request_of, segmented


def test_a_planted_copy_and_the_attack_stand_in_the_report(tmp_path: Path) -> None:
    names = ("chelsea", "astronaut", "coffee", "retina")
    mask = ellipse(320, 240, (60, 80))
    photos = [segmented(resize(real_photos()[name], 320, 240), mask) for name in names]
    embedder = colour_embedder(tmp_path / "e.onnx")
    private = private_segments(request_of(), photos)
    own = OnnxEmbedder(embedder)(private["target"])
    room = OnnxEmbedder(embedder)(private["background"])
    away = np.eye(3, dtype=np.float32)[[2, 2]]
    np.savez(
        tmp_path / "run.npz",
        target=np.concatenate([away, own[1:2]]),
        background=np.concatenate([-room[:2], room[:1]]),
        index=[0, 40, 80],
        prompt_target=own,
        prompt_background=away,
        empty_prompt=away,
    )
    sanitized = sanitize(request_of("L2", "L0"), photos)
    measures = measure_segments(sanitized, photos, tmp_path / "run.npz", embedder=embedder)
    home = build_home_report(photos, sanitized, measure_leakage(sanitized), measures, None)
    assert [segment.what for segment in home.segments] == ["its pixels", "the word alone"]
    assert home.leakage[0].sim == measures["target"].sim
    beyond = {figure.name: figure for figure in home.beyond}
    copies = beyond["copies among the synthetic images"]
    nearest = "1 of 3 flagged; image 80 is nearest, at 1.000"
    assert copies.segments["target"].startswith(nearest)
    assert "chance" not in copies.segments["target"]
    assert copies.segments["background"].startswith(nearest)
    assert copies.segments["background"].endswith("; by chance: nothing was sent")
    attack = beyond["re-identified by the photo itself"]
    assert attack.segments["target"] == "100% (95 %: 51%–100%; chance 25.0%)"
    assert attack.segments["background"] == "chance, 25.0%: nothing was sent"
    assert "empty prompt" in beyond["prompt SIM"].segments["target"]


@pytest.mark.parametrize(
    ("scheme", "changes", "what"),
    [
        ("L2", {"noise": {"target": 50}}, r"its pixels with noise σ 50 \(ε [\d,]{5,} at δ 1e-05\)"),
        ("L1", {"features": {"target": "soft_edges"}}, r"a feature map \(soft_edges\)"),
    ],
)
def test_the_report_says_how_a_segment_left(
    scheme: str, changes: dict[str, Any], what: str, tmp_path: Path
) -> None:
    photos = [segmented()]
    sanitized = sanitize(request_of(scheme, "L0", **changes), photos)
    embedder = colour_embedder(tmp_path / "e.onnx")
    same = np.eye(3, dtype=np.float32)
    np.savez(tmp_path / "run.npz", target=same, background=same, index=[0, 1, 2])
    measures = measure_segments(sanitized, photos, tmp_path / "run.npz", embedder=embedder)
    home = build_home_report(photos, sanitized, measure_leakage(sanitized), measures, None)
    assert re.fullmatch(what, home.segments[0].what)
