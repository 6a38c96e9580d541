"""What names a local model in a stage's key: its content, for a path may hold another tomorrow."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

HOME = "home"
"""What a setting calls the bundled checkpoint, or the part of it that it is about."""
_CONTENT = {".safetensors", ".bin", ".json", ".txt", ".onnx"}
"""Suffixes of the files in a model's folder that decide what it computes."""


def home_folder() -> Path:
    """The folder of the bundled checkpoint; some installations have none."""
    return Path(str(files("spinml"))) / "home" / "checkpoint"


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of a model's files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in _CONTENT:
            name = path.relative_to(folder).as_posix()
            digest.update(f"{name}\0{file_digest(path)}\n".encode())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file; read again only when its time or size changed."""
    state = path.stat()
    return _file_digest(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1024)
def _file_digest(path: Path, _mtime_ns: int, _size: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def local_content(name: str | None) -> dict[str, str]:
    """The ``content`` of what a setting names, for a key; nothing where that is no path here."""
    if name is None:
        return {}
    path = home_folder() if name == HOME else Path(name).expanduser()
    if not path.exists():
        return {}
    return {"content": folder_digest(path) if path.is_dir() else file_digest(path)}
