"""The report tells what it was given, escapes it, and fetches nothing."""

from __future__ import annotations

import base64
import re
from typing import Any

import numpy as np
import pytest

from spinml.device.described import DescribedFigure
from spinml.images import encode_png
from spinml.report.html import duration, render_home_report, render_server_report
from spinml.report.model import (
    DatasetPart,
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
    assert "at home" not in html


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"noise": {"target": 10}}, ("dog&nbsp;<b>L2 (noise σ 10)</b>", "<b>L0</b>.")),
        ({"schemes": {"target": "mosaic"}}, ("dog&nbsp;<b>L2 (mosaic)</b>",)),
        (
            {"privacy": {"target": "L1", "background": "L1"}, "features": {"target": "pose"}},
            ("dog&nbsp;<b>L1 (pose)</b>, bedroom&nbsp;<b>L1 (canny)</b>.",),
        ),
    ],
)
def test_noise_and_features_stand_beside_the_preference(
    report: RunReport, changes: dict[str, Any], told: tuple[str, ...]
) -> None:
    request = parse_request(report.request.model_dump() | changes)
    html = render_server_report(report.model_copy(update={"request": request}))
    assert all(part in " ".join(html.split()) for part in told)


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
                name="target",
                scheme=Scheme.L2,
                what="its pixels with noise σ 10 (ε 12,345 at δ 1e-05)",
                words="dog",
                private=(PNG,),
                sent=(PNG,),
            ),
            SegmentDisclosure(
                name="background",
                scheme=Scheme.L0,
                what="the word alone",
                words="bedroom",
                private=(PNG,),
                sent=(),
            ),
        ),
        leakage=(
            LeakageRow(
                segment="target",
                words="dog",
                schemes=(Scheme.L2,),
                histogram=0.9,
                regional=0.8,
                sim=0.71,
            ),
        ),
        beyond=(
            DescribedFigure(
                "prompt SIM",
                {"target": "0.271 (empty prompt 0.240)", "background": "not measured"},
                "Words.",
            ),
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
    assert (
        "Target, “dog” — L2: the words and its pixels with noise σ 10 (ε 12,345 at δ 1e-05)" in html
    )
    assert "Background, “bedroom” — L0: the word alone" in html
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


def test_a_mixtures_datasets_are_named_by_preference(report: RunReport) -> None:
    parts = (
        DatasetPart(preference="(L2, L0)", images=240, rejected=3),
        DatasetPart(preference="(L0, L0)", images=239, rejected=4),
    )
    html = render_server_report(report.model_copy(update={"datasets": parts}))
    assert "<td>(L0, L0)</td>" in html
    assert ">239<" in html
    alone = render_server_report(report.model_copy(update={"datasets": parts[:1]}))
    assert "<td>(L2, L0)</td>" not in alone


def test_a_report_of_several_objects_names_each(report: RunReport) -> None:
    request = parse_request(
        {
            "target_objects": ["pill bottle", "photo frame"],
            "background": "bedroom",
            "training_objective": "is it open",
            "label_classes": ["open", "closed"],
            "privacy": {"pill bottle": "L1"},
            "mixture": [{"photo frame": "L2"}],
        }
    )
    segments = [
        SegmentDisclosure(
            name=name,
            scheme=scheme,
            what="its pixels",
            words=request.words_of(name),
            private=(PNG,),
            sent=(),
        )
        for name, scheme in request.disclosures
    ]
    rows = [
        LeakageRow(
            segment=name,
            words=request.words_of(name),
            schemes=request.disclosed(name),
            histogram=0.1,
            regional=0.1,
            sim=None if name == "target_2" else 0.5,
        )
        for name in request.segments
    ]
    figure = DescribedFigure("prompt SIM", dict.fromkeys(request.segments, "0.3"), "Words.")
    home = HomeReport(segments=tuple(segments), leakage=tuple(rows), beyond=(figure,))
    html = render_home_report(report.model_copy(update={"request": request}), home)
    assert "A model for one job: pill bottle and photo frame in the bedroom" in html
    assert "Target 2, “photo frame” — L2" in html
    assert "<th>target</th><th>target_2</th><th>background</th>" in html
    assert html.count(">–<") == 1  # no SIM of an object that no photo shows
    lead = re.sub(r"\s+", " ", html.split('class="lead">')[1].split("</p>")[0])
    assert "photo frame&nbsp;<b>L0</b>" in lead
    assert lead.count("bedroom&nbsp;<b>L0</b>") == 2
