"""Where the API key of this machine's own service lies, for the service and the device on it."""

from __future__ import annotations

from pathlib import Path

from spinml.privacy.secret import data_folder


def key_file() -> Path:
    """``$SPINML_HOME/api_key``, or the same in the user's data folder."""
    return data_folder() / "api_key"
