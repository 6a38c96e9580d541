"""A small reproduction, end to end on a real cluster, with stages that write small artifacts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from spinml.report.sweep import render_sweep_report
from spinml.reproduce.document import write_reproduction
from spinml.reproduce.experiments import EXPERIMENTS
from spinml.reproduce.run import Reproduction, Settings, reproduce
from spinml.reproduce.selection import LeftOut, Selection
from tests.sweep.conftest import make_config
from tests.sweep.fakes import OPERATIONS, executed, journalled_cluster

pytestmark = pytest.mark.ray

LEFT_OUT = LeftOut(("3b",), "human", "the segmenter does not know 'person'")
SELECTION = Selection(("3a", "3b", "4d"), {"pet": ("L0,L0", "L2,L0")}, (LEFT_OUT,))
SETTINGS = Settings(
    seeds=dict.fromkeys(EXPERIMENTS, 1),
    images_per_class=4,
    generic_model="home",
    generic_detector=None,
)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with journalled_cluster(tmp_path_factory.mktemp("journal")) as folder:
        yield folder


@pytest.mark.timeout(600)
def test_from_selection_to_documents_and_on_again(tmp_path: Path, journal: Path) -> None:
    config, out = make_config(tmp_path), tmp_path / "out"

    def run() -> Reproduction:
        return reproduce(SELECTION, SETTINGS, config, out, operations=OPERATIONS)

    made = run()
    write_reproduction(made, tmp_path / "results", "python jobs/reproduce.py --seeds 1")
    assert not made.sweeps["pet"].failed
    assert not made.complete, "the human task was left out"
    before = executed(journal)
    assert before["train"] == 2

    stored = json.loads((tmp_path / "results" / "reproduction.json").read_text())
    accuracy = stored["tables"]["3a"]["rows"]["L2,L0"]["real"]
    assert accuracy["paper"] == 64.74
    assert 0 < accuracy["ours"]["mean"] <= 100
    assert stored["tables"]["3a"]["rows"]["L2,L0"]["synthetic"]["ours"]["mean"] == 75
    assert stored["tables"]["3a"]["rows"]["L1,L0"]["real"]["ours"] is None
    assert stored["tables"]["4d"]["rows"]["husky"]["target SpinML"]["ours"] is not None
    assert [one["verdict"] for one in stored["insights"]] == ["cannot be told"] * 3
    assert stored["left_out"][0]["what"] == "human"

    text = (tmp_path / "results" / "reproduction.md").read_text()
    assert "`python jobs/reproduce.py --seeds 1`" in text
    assert "| (L1,L0) | 83.45 | – | 57.05 | – |" in text
    assert "- table 3b: human: the segmenter does not know 'person'" in text
    pictures = {path.name for path in (tmp_path / "results").glob("*.png")}
    assert pictures == {"figure-3-pet.png", "figure-4.png"}
    assert all(f"]({name})" in text for name in pictures)
    grid = cv2.imread(str(tmp_path / "results" / "figure-4.png"))
    assert grid is not None
    assert grid.shape[1] > grid.shape[0], "four classes, and the raw photos above two preferences"

    html = render_sweep_report(list(made.sweeps.values()))
    assert "pet: dog in the bedroom" in html
    assert "A model that tells what my dog is doing" in html

    again = run()
    assert executed(journal) == before, "nothing is made again"
    assert again.tables == made.tables
