"""The sweep's report has all its parts, escapes text and fetches nothing."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from spinml.images import encode_png
from spinml.report.sweep import render_sweep_report
from spinml.sweep.results import FailedTrial, SkippedTrial, write_whole
from spinml.sweep.spec import SweepSpec
from spinml.sweep.summary import SweepCost, SweepResult, summarise_sweep
from tests.sweep.conftest import REQUEST, make_spec
from tests.sweep.rows import human_rows, row

COST = SweepCost(seconds=125.0, busy_s=120.0, executed=31)


def result_of(folder: Path, **fields: object) -> SweepResult:
    samples = (("dark", "samples/a/dark.png"), ("bright", "samples/a/bright.png"))
    for index, (_, file) in enumerate(samples):
        image = np.full((16, 16, 3), 80 + 100 * index, np.uint8)
        write_whole(folder / file, encode_png(image))
    rows = human_rows(samples=samples)
    failed = FailedTrial(
        id="x", label="(L9, L0)", seed=0, error={"message": "<b>no scheme</b>", "remedy": "mend it"}
    )
    skipped = SkippedTrial(label="(L2, L2)", seed=2, reason="(L0, L2) is better")
    spec = make_spec(wanted_accuracy=0.44, **fields)
    return summarise_sweep(spec, folder, rows, [failed], [skipped], COST)


def test_all_parts_of_every_task(tmp_path: Path) -> None:
    two = [result_of(tmp_path), result_of(tmp_path, name="people")]
    html = render_sweep_report(two)
    for measure in ("MI", "SIM"):
        for segment in ("target", "background"):
            panel = f"<figcaption>{measure} of the {segment}</figcaption><svg"
            assert html.count(panel) == 2, "Figure 3's panel, per task"
    assert html.count("<svg") == 2 * 5, "four panels and the front"
    assert html.count('<tr class="front">') == 2 * 4
    assert html.count("<img ") == 2 * 7 * 2, "an image for each preference and class"
    assert html.count("Share (L0, L1): the least disclosure") == 2
    assert "people: cat in the living room" in html
    assert "&lt;b&gt;no scheme&lt;/b&gt;" in html
    assert "(L0, L2) is better" in html
    # Each stage once: 3 + 7 · 1 s of 7 · 4 s.
    assert "took 36 % of what" in html
    assert "<script" not in html
    assert all(s.startswith("data:") for s in re.findall(r'(?:src|href)="([^"#]+)', html))


def test_lines_join_what_differs_in_one_segment(tmp_path: Path) -> None:
    html = render_sweep_report([result_of(tmp_path)])
    panels = dict(re.findall(r"<figcaption>(.*?)</figcaption>(<svg.*?</svg>)", html, re.DOTALL))
    # Three targets vary at background L2; two at L0 and L1.
    assert panels["MI of the target"].count("background L") == 3
    assert panels["MI of the background"].count("target L") == 2, "(L2, L2) stands alone"


def test_a_sweep_without_a_finished_trial(tmp_path: Path) -> None:
    failed = FailedTrial(id="x", label="(L0, L0)", seed=0, error={"message": "m", "remedy": "r"})
    html = render_sweep_report([summarise_sweep(make_spec(), tmp_path, [], [failed], [], COST)])
    assert "No trial was finished." in html
    assert "<svg" not in html


def test_one_condition_has_no_lines(tmp_path: Path) -> None:
    (only,) = [row("L0,L0", 0.5)]
    html = render_sweep_report([summarise_sweep(make_spec(), tmp_path, [only], [], [], COST)])
    assert html.count("<svg") == 5
    assert REQUEST["training_objective"] in html


def test_several_objects_stand_in_the_title(tmp_path: Path) -> None:
    fields = {name: value for name, value in REQUEST.items() if name != "target_object"}
    objects = {"target_objects": ["cat", "photo frame"]}
    html = render_sweep_report([result_of(tmp_path, request=fields | objects)])
    assert "cats: cat and photo frame in the living room" in html


def test_without_a_wanted_accuracy_the_front_stands_for_itself(tmp_path: Path) -> None:
    fields = make_spec().model_dump(mode="json", exclude={"wanted_accuracy"})
    spec = SweepSpec.model_validate(fields)
    result = summarise_sweep(spec, tmp_path, human_rows(), [], [], COST)
    assert result.recommendation is None
    assert (result.as_dict()["recommendation"], len(result.front)) == (None, 4)
    html = render_sweep_report([result])
    assert html.count('<tr class="front">') == 4
    assert "least disclosure" not in html
    assert "No trial was finished." not in html
    assert "wanted" not in html
