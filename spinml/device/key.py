"""Where the API key of this machine's own service lies, for the service and the device on it."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def key_file() -> Path:
    """``$SPINML_HOME/api_key``, or the same in the user's data folder."""
    home = os.environ.get("SPINML_HOME")
    return (Path(home) if home else platformdirs.user_data_path("spinml")) / "api_key"
