"""A specialised model's file, opened: what it is for lies in its metadata."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spinml.errors import ModelFileError
from spinml.privacy.onnx_session import open_session


@dataclass(frozen=True)
class ModelFile:
    """An open model: its session, what it does, its classes and the side of its input."""

    session: Any
    task: str
    classes: tuple[str, ...]
    image_px: int


def model_task(path: Path) -> str:
    """What the model in ``path`` is for.

    Raises:
        ModelFileError: no such file, or not of SpinML.
    """
    return open_model(path).task


def open_model(path: Path, task: str | None = None, *, threads: int = 0) -> ModelFile:
    """Open a model that SpinML exported, of any task where none is wanted.

    Raises:
        ModelFileError: no such file, not of SpinML, or for another task.
    """
    session = open_session(path, threads=threads)
    metadata = session.get_modelmeta().custom_metadata_map
    try:
        classes = tuple(str(name) for name in json.loads(metadata["spinml.classes"]))
        found = ModelFile(
            session, metadata["spinml.task"], classes, int(metadata["spinml.image_px"])
        )
    except (KeyError, ValueError, TypeError):
        raise ModelFileError(
            f"{path.name} does not say its classes, image size and task",
            remedy="give a model.onnx that `spinml device fetch` downloaded",
        ) from None
    if task is not None and found.task != task:
        raise ModelFileError(
            f"{path.name} is for {found.task!r}, not for {task}",
            remedy=f"give the model of a run whose request says task: {task}",
        )
    return found
