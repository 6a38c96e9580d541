"""The report tells what it was given, escapes it, and fetches nothing."""

from __future__ import annotations

import base64
import re

import numpy as np
import pytest

from spinml.device.described import DescribedFigure
from spinml.images import encode_png
from spinml.report.html import duration, render_home_report, render_server_report
from spinml.report.model import (
    DetectionEpoch,
    Epoch,
    HomeReport,
    LeakageRow,
    RunReport,
    SegmentDisclosure,
    StageTime,
)
from spinml.request import Scheme, parse_request

PNG = encode_png(np.full((8, 8, 3), 90, np.uint8))
SHARED = base64.b64encode(PNG).decode()


@pytest.fixture
def report() -> RunReport:
    request = parse_request(
        {
            "target_object": "dog",
            "background": "bedroom",
            "training_objective": "<b>what is my dog doing?</b>",
            "label_classes": ["eating", "sitting"],
            "privacy": {"target": "L2", "background": "L0"},
        }
    )
    epochs = [
        Epoch(
            epoch=i,
            train_loss=1 / i,
            train_accuracy=0.5,
            validation_loss=1 / i,
            validation_accuracy=0.5 + i / 10,
        )
        for i in (1, 2, 3)
    ]
    return RunReport(
        run_id="r-1",
        request=request,
        stages=(
            StageTime(label="generate", state="done", seconds=75.2),
            StageTime(label="train", state="reused", seconds=0),
        ),
        images=480,
        rejected=7,
        history=tuple(epochs),
        confusion=((9, 1), (2, 8)),
        samples={"eating": (SHARED,), "sitting": (SHARED,)},
        references={"target": (SHARED,)},
    )


def test_server_report_shows_figures_and_nothing_private(report: RunReport) -> None:
    html = render_server_report(report)
    assert "480" in html
    assert "80.0 %" in html  # best validation accuracy
    assert "train (reused)" in html
    assert html.count(f"base64,{SHARED}") == 3
    assert "stayed at home" not in html


def test_text_of_the_request_is_escaped(report: RunReport) -> None:
    html = render_server_report(report)
    assert "<b>what is my dog doing?" not in html
    assert "&lt;b&gt;what is my dog doing?" in html


def test_nothing_is_fetched_and_no_script_runs(report: RunReport) -> None:
    html = render_server_report(report)
    assert "<script" not in html
    sources = re.findall(r'(?:src|href)="([^"#]+)', html)
    assert sources
    assert all(source.startswith("data:") for source in sources)


def test_home_report_sets_words_in_place_of_pixels_at_l0(report: RunReport) -> None:
    home = HomeReport(
        segments=(
            SegmentDisclosure(
                name="target", scheme=Scheme.L2, words="dog", private=(PNG,), sent=(PNG,)
            ),
            SegmentDisclosure(
                name="background", scheme=Scheme.L0, words="bedroom", private=(PNG,), sent=()
            ),
        ),
        leakage=(
            LeakageRow(segment="target", scheme=Scheme.L2, histogram=0.9, regional=0.8, sim=0.71),
        ),
        beyond=(
            DescribedFigure("prompt SIM", "0.271 (empty prompt 0.240)", "not measured", "Words."),
        ),
        evaluation={
            "accuracy": 0.625,
            "interval_95": [0.5, 0.7],
            "photos": 8,
            "confusion": [[3, 1], [2, 2]],
        },
    )
    html = render_home_report(report, home)
    assert "only the words <q>bedroom</q>" in html
    assert "62.5 %" in html
    assert "90.00 %" in html
    assert "0.710" in html
    assert "Beyond averages" in html
    assert "<td>0.271 (empty prompt 0.240)</td><td>not measured</td><td>Words.</td>" in html


def test_a_detection_shows_map50_and_no_confusion() -> None:
    request = parse_request(
        {
            "target_object": "pill bottle",
            "background": "bedroom",
            "training_objective": "where is my pill bottle?",
            "task": "detection",
        }
    )
    epoch = DetectionEpoch(
        epoch=0,
        train_loss=3.0,
        validation_loss=2.0,
        validation_map50=0.715,
        validation_precision=0.8,
        validation_recall=0.6,
    )
    run = RunReport(
        run_id="r-2", request=request, stages=(), images=80, rejected=0, history=(epoch,)
    )
    run = RunReport.model_validate_json(run.model_dump_json())
    home = HomeReport(
        segments=(),
        leakage=(),
        beyond=(),
        evaluation={
            "photos": 40,
            "objects": 38,
            "left_out": 0,
            "map50": 0.634,
            "confidence": 0.25,
            "per_class": {
                "pill bottle": {"objects": 38, "ap50": 0.634, "precision": None, "recall": 0.0}
            },
        },
    )
    html = render_home_report(run, home)
    assert "71.5 %</b><span>mAP50 on held-out synthetic images" in html
    assert "63.4 %</b><span>mAP50 on 40 private test photos with 38 objects" in html
    assert "none shown" in html
    assert "known by construction" in html
    assert "precision" in html
    assert "Accuracy" not in html
    assert "predicted" not in html


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.4, "4 s"), (75.2, "1 min 15 s"), (60, "1 min 0 s")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
