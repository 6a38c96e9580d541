"""What a sweep keeps in its folder."""

from __future__ import annotations

from pathlib import Path

from spinml.sweep.results import SweepFolder, sample_file
from tests.sweep.rows import row


def test_every_class_keeps_an_image_of_its_own(tmp_path: Path) -> None:
    images = {"猫": b"cat", "犬": b"dog", "lying down": b"down", "lying-down": b"dash"}
    files = tuple((name, sample_file("a", number, name)) for number, name in enumerate(images))
    SweepFolder(tmp_path).finish(row("L0,L0", 0.5, samples=files), images)
    assert {name: (tmp_path / file).read_bytes() for name, file in files} == images
    assert dict(files)["lying down"] == "samples/a/2-lying_down.png"
