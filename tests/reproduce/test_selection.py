"""What this checkpoint and segmenter can run, and what is left out with a reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer import Typer
from typer.testing import CliRunner

from spinml.config import CheckpointConfig, ServerConfig
from spinml.device.segmenter import Segmenter
from spinml.pipeline.local_files import home_folder
from spinml.reproduce.command import INCOMPLETE, reproduction
from spinml.reproduce.experiments import TABLES
from spinml.reproduce.selection import datasets_of_generic, select
from tests.device.models import segmenter


@pytest.fixture
def knows_dog_and_bottle(tmp_path: Path) -> Segmenter:
    return Segmenter(segmenter(tmp_path / "s.onnx", []))


def test_tasks_whose_object_the_segmenter_does_not_know_are_left_out(
    knows_dog_and_bottle: Segmenter,
) -> None:
    found = select(TABLES, ServerConfig(), segmenter=knows_dog_and_bottle)
    assert list(found.conditions) == ["pet", "noise", "bottle"]
    assert {name: len(chosen) for name, chosen in found.conditions.items()} == {
        "pet": 6,
        "noise": 4,
        "bottle": 8,
    }
    human, frame, generic = found.left_out
    assert (human.tables, human.what) == (("3b", "4b", "4d"), "human")
    assert "person" in human.reason
    assert frame.tables == ("6", "6-frame")
    assert "photo frame" in frame.reason
    assert (generic.tables, generic.what) == (("7",), "bottle")


def test_a_feature_without_a_controlnet_leaves_its_conditions_out(
    knows_dog_and_bottle: Segmenter, tmp_path: Path
) -> None:
    knows_dog_and_bottle.class_names = ["person"]
    poseless = tmp_path / "checkpoint"
    poseless.mkdir()
    for part in home_folder().iterdir():
        if part.name != "controlnet_pose":
            (poseless / part.name).symlink_to(part)
    config = ServerConfig(checkpoint=CheckpointConfig(base=str(poseless)))
    found = select(["3b"], config, segmenter=knows_dog_and_bottle)
    assert found.conditions == {"human": ("L0,L0", "L0,L1", "L0,L2", "L2,L2")}
    (left_out,) = found.left_out
    assert left_out.tables == ("3b",)
    assert "(L1,L0), (L1,L1), (L1,L2), (L0,L2 + L1,L2)" in left_out.what
    assert "pose" in left_out.reason


def test_a_generic_detector_brings_the_bottle_back(knows_dog_and_bottle: Segmenter) -> None:
    found = select(
        ["7"], ServerConfig(), generic_detector="some/owl", segmenter=knows_dog_and_bottle
    )
    assert (found.conditions, found.left_out) == ({}, ())
    names = [one.dataset for one in datasets_of_generic(["7"], "some/owl")]
    assert names == ["husky", "human", "bottle"]
    assert len(datasets_of_generic(["7"], None)) == 2
    assert datasets_of_generic(["3a"], "some/owl") == []


def _listed(tmp_path: Path, *options: str) -> tuple[int, dict[str, object], str]:
    path = tmp_path / "config.yaml"
    store = {"artifacts": f"file://{tmp_path}/store"}
    settings = {"preset": "home", "store": store, "finetune": {"class_images": 0}}
    path.write_text(yaml.safe_dump(settings))
    app = Typer()
    app.command()(reproduction)
    ended = CliRunner().invoke(app, ["--config", str(path), "--list", "--json", *options])
    assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exception
    return ended.exit_code, json.loads(ended.stdout), ended.stderr


def test_list_counts_stages_after_sharing_and_says_what_is_left_out(tmp_path: Path) -> None:
    options = ["--tables", "3a,7", "--seeds", "2", "--images-per-class", "8", "--steps", "25"]
    code, listed, told = _listed(tmp_path, *options)
    assert code == INCOMPLETE
    (pet,) = listed["experiments"]  # type: ignore[misc]
    assert (pet["conditions"], pet["trials"]) == (6, 12)
    # A seed's: L0 5, L1 7, L2 6, (L2, L2) 6 for the dog is drawn, and 3 of each mixture whose
    # datasets are there.
    assert pet["stages"] == pet["missing"] == 2 * (5 + 7 + 6 + 6 + 3 + 3)
    assert pet["alone"] == 2 * (5 + 7 + 6 + 8 + 9 + 8)
    assert 0 < pet["hours"] < 2
    assert "left out  table 7: bottle:" in told
    assert not (tmp_path / "store").exists(), "nothing is stored"


def test_more_steps_and_images_take_longer(tmp_path: Path) -> None:
    few = _listed(tmp_path, "--tables", "5", "--seeds", "1", "--images-per-class", "8")
    many = _listed(tmp_path, "--tables", "5", "--seeds", "1", "--images-per-class", "80")
    assert few[0] == many[0] == 0
    hours = [listed["experiments"][0]["hours"] for _, listed, _ in (few, many)]  # type: ignore[index]
    assert hours[0] < hours[1]
