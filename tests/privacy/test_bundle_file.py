"""A bundle's file: the same bundle back, or none."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from spinml.bundle import BundleLimits
from spinml.errors import BundleLimitError, MalformedBundleError, PreferenceViolationError
from spinml.privacy.bundle_file import read_bundle, write_bundle
from tests.service import bundles


def test_a_bundle_comes_back_as_it_was(tmp_path: Path) -> None:
    bundle = bundles.bundle()
    for name in ("a.spinml", "b.spinml"):
        write_bundle(bundle, tmp_path / "box" / name)
    assert read_bundle(tmp_path / "box" / "a.spinml") == bundle
    first, second = (path.read_bytes() for path in (tmp_path / "box").iterdir())
    assert first == second, "no time in it"


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "changed.spinml"
    parts = bundles.bundle().to_parts()

    def write(changed: dict[str, bytes]) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in changed.items():
                archive.writestr(name, content)

    with pytest.raises(MalformedBundleError, match="FileNotFoundError"):
        read_bundle(path)
    path.write_bytes(b"no archive")
    with pytest.raises(MalformedBundleError, match="BadZipFile"):
        read_bundle(path)
    write(parts | {"target.0": bundles.cut_out(7)})
    with pytest.raises(MalformedBundleError, match="not the one declared"):
        read_bundle(path)
    write(parts | {"../../.bashrc": b"harm"})
    with pytest.raises(MalformedBundleError, match="does not declare"):
        read_bundle(path)
    request = json.loads(parts["manifest"])["request"] | {"privacy": {"target": "L0"}}
    write(bundles.with_manifest(parts, request=request))
    with pytest.raises(PreferenceViolationError):
        read_bundle(path)


def test_archives_that_end_early_or_are_compressed_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.spinml"
    write_bundle(bundles.bundle(), path)
    raw = bytearray(path.read_bytes())
    last = raw.rindex(b"PK\x01\x02")  # the last part, whose sizes are made to reach behind the end
    raw[last + 20 : last + 28] = (10_000_000).to_bytes(4, "little") * 2
    path.write_bytes(raw)
    with pytest.raises(MalformedBundleError, match="EOFError"):
        read_bundle(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest", bytes(5_000))
    with pytest.raises(MalformedBundleError, match="compressed"):
        read_bundle(path)


def test_a_name_that_is_not_what_it_says_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dog.spinml"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("\u00e9", b"{}")  # two bytes of UTF-8, flagged as such
    path.write_bytes(path.read_bytes().replace("\u00e9".encode(), b"\xff\xff"))
    with pytest.raises(MalformedBundleError, match="UnicodeDecodeError"):
        read_bundle(path)


def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken.spinml").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_bundle(bundles.bundle(), tmp_path / "taken.spinml")
    assert [path.name for path in tmp_path.iterdir()] == ["taken.spinml"]


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.spinml"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest", bytes(5_000_000))
    assert path.stat().st_size < 10_000
    with pytest.raises(BundleLimitError, match="5000000 bytes"):
        read_bundle(path, BundleLimits(max_body_bytes=1_000_000))
