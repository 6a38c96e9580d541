"""What the log says of an unexpected error: where it happened, never its message."""

from __future__ import annotations

import traceback

_FRAMES = 8


def describe(error: BaseException) -> str:
    """Type and places in the code; a message may hold a person's words or a path."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    places = "; ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{type(error).__name__} at {places}"
