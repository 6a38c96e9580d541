"""What `ray job submit --working-dir .` packs of this repository, by Ray's own function."""

from __future__ import annotations

import zipfile
from pathlib import Path

from ray._private.runtime_env.packaging import create_package

ROOT = Path(__file__).parents[2]


def test_the_working_directory_is_small(tmp_path: Path) -> None:
    package = tmp_path / "package.zip"
    create_package(str(ROOT), package, include_gitignore=True)
    with zipfile.ZipFile(package) as archive:
        names = archive.namelist()
    assert "jobs/sweep.py" in names
    assert "examples/sweep.yaml" in names
    assert not [name for name in names if name.split("/")[0] in ("spinml", "tests", ".git", "out")]
    assert package.stat().st_size < 1_000_000
