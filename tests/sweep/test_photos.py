"""Whose photos play the device: folders, a shipped home by name, or the one of the request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from spinml.errors import ConfigError, PhotoError
from spinml.home.photos import shipped_home
from spinml.sweep.spec import SweepSpec, load_sweep
from spinml.tradeoffs.home import photos_of, reference_files
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
