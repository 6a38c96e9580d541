"""Whose photos play the device: folders, a shipped home by name, or the one of the request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from spinml.config import ServerConfig
from spinml.errors import ConfigError, PhotoError
from spinml.home.photos import shipped_home, write_boxes, write_photo
from spinml.request import Task, parse_request
from spinml.sweep.spec import PhotosOfHome, SweepSpec, load_sweep
from spinml.tradeoffs.home import PlayedHome, objects_of, photos_of, reference_files
from tests.device.detectors import SIDE, detector
from tests.sweep.conftest import REQUEST, make_spec

SPACE = {"preferences": [{"target": "L0"}]}


def chosen(**fields: Any) -> Path:
    spec = make_spec(space=SPACE, **fields)
    return photos_of(spec.photos, spec.base_request()).labelled


def test_the_request_chooses_the_shipped_home() -> None:
    for task, words in (("pet", "dog"), ("human", "Person"), ("bottle", "pill  bottle")):
        wanted = shipped_home(task).folder / "test"
        assert chosen(request=REQUEST | {"target_object": words}) == wanted
    with pytest.raises(PhotoError, match="no shipped home shows 'cat'"):
        chosen()


def test_a_file_may_name_a_shipped_home(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    spec = make_spec(space=SPACE).model_dump(mode="json")
    path.write_text(yaml.safe_dump(spec | {"photos": {"home": "human"}}))
    loaded: SweepSpec = load_sweep(path)
    photos = photos_of(loaded.photos, loaded.base_request())
    assert photos.references == shipped_home("human").folder / "references"
    assert photos.keypoints is not None
    assert len(reference_files(photos)) == len(list(photos.keypoints.iterdir())) == 10
    path.write_text(yaml.safe_dump(spec | {"photos": {"home": "garden"}}))
    with pytest.raises(ConfigError, match="photos"):
        load_sweep(path)


def test_folders_are_taken_as_they_are_named(photos: dict[str, str], tmp_path: Path) -> None:
    assert chosen(photos=photos) == Path(photos["labelled"])
    with pytest.raises(PhotoError, match=r"photos\.labelled .* no folder"):
        chosen(photos=photos | {"labelled": str(tmp_path / "nowhere")})


def test_a_detectors_utility_is_told_by_object(photos: dict[str, str], tmp_path: Path) -> None:
    labelled = tmp_path / "boxes"
    write_photo(labelled / "images" / "p.jpg", np.full((SIDE, SIDE, 3), 90, np.uint8))
    masks = [(0, np.zeros((SIDE, SIDE), bool)), (1, np.zeros((SIDE, SIDE), bool))]
    masks[0][1][16:48, 8:24] = True
    masks[1][1][0:8, 40:60] = True
    write_boxes(labelled / "labels" / "p.txt", masks)
    named = PhotosOfHome.model_validate(photos | {"labelled": str(labelled)})
    home = PlayedHome(parse_request(REQUEST), named, ServerConfig())

    model = detector(tmp_path / "model.onnx", [([8.0, 16.0, 24.0, 48.0], 0, 0.9)])
    utility = home.utility(Task.DETECTION, model)
    assert (utility.name, utility.value) == ("mAP50", pytest.approx(0.5))
    objects = objects_of(utility, {"pill bottle": 0.75, "photo frame": 0.25})
    assert objects["pill bottle"].model_dump() == {
        "utility": pytest.approx(1.0),
        "synthetic_utility": 0.75,
    }
    assert objects["photo frame"].utility == 0.0
