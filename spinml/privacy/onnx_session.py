"""Opening ONNX files on the device: one place for their settings and their errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime

from spinml.errors import ModelFileError

_QUIET = 3
"""onnxruntime's severity "error"."""


def open_session(path: Path, *, threads: int = 0) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU.

    Args:
        threads: at most so many for one operator; 0 lets onnxruntime choose.

    Raises:
        ModelFileError: no such file, or it is no ONNX model.
    """
    if not path.is_file():
        raise ModelFileError(f"there is no model file at {path}", remedy="give the path of one")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _QUIET
    options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # noqa: BLE001 - onnxruntime's exceptions share no other base
        raise ModelFileError(
            f"the model file {path.name} cannot be loaded: {type(error).__name__}",
            remedy="fetch or export it again; it must be a whole ONNX file",
        ) from None
