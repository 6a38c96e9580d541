"""The models that the package carries for the device: segmenter and embedder."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from spinml.errors import ModelFileError


def bundled_segmenter() -> Path:
    """The YOLOv8n-seg of the simulated home.

    Raises:
        ModelFileError: this installation has none.
    """
    return _bundled(
        "segmenter/segmenter.onnx",
        "segmenter",
        "give one with --segmenter, or masks with --mask",
    )


def bundled_embedder() -> Path:
    """The image embedder of SIM; the server's default is the same file.

    Raises:
        ModelFileError: this installation has none.
    """
    return _bundled("text_image/embedder.onnx", "embedder", "install a release that carries it")


def _bundled(name: str, what: str, remedy: str) -> Path:
    path = Path(str(resources.files("spinml.home"))) / "checkpoint" / name
    if not path.is_file():
        raise ModelFileError(f"this installation carries no {what}", remedy=remedy)
    return path
