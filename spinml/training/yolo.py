"""ultralytics, quiet and offline: the one place that imports it for training (AGPL-3.0).

It reads its surroundings when it is imported: where to keep settings, whether it may go online, and
the rank of a distributed worker, from which it would conclude that it must split the batches of a
process group that is Ray's. None of that is wanted here.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType

from matplotlib import font_manager
from PIL import Image

_RANKS = ("RANK", "LOCAL_RANK")


@cache
def ultralytics() -> ModuleType:
    """The package with settings in a temporary folder and without network, hub or console output.

    Only what the first call of a process finds in its environment counts.
    """
    settings = _settings_folder()
    os.environ |= {
        "YOLO_CONFIG_DIR": settings.name,
        "YOLO_AUTOINSTALL": "false",
        "YOLO_OFFLINE": "true",
        "YOLO_VERBOSE": "false",
        "ULTRALYTICS_SAFE_LOAD": "true",  # of its pickles only known classes are made
    }
    ranks = {name: os.environ.pop(name) for name in _RANKS if name in os.environ}
    opened_by = Image.open
    try:
        import ultralytics as package
        from ultralytics.utils import LOGGER, SETTINGS, USER_CONFIG_DIR
    finally:
        os.environ |= ranks
        # It puts its own in place, which looks for another package when a file is no image.
        Image.open = opened_by
    LOGGER.setLevel(logging.ERROR)
    # Its trackers find Ray and would report to a trial that is not theirs.
    for tracker in ("clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb"):
        SETTINGS[tracker] = False
    # Without a font there it asks the network for one, plots or not.
    shutil.copy(font_manager.findfont("DejaVu Sans"), Path(USER_CONFIG_DIR) / "Arial.ttf")
    found: ModuleType = package
    return found


@cache
def _settings_folder() -> tempfile.TemporaryDirectory[str]:
    """Lives as long as the process; removed with it."""
    return tempfile.TemporaryDirectory(prefix="spinml-ultralytics-")
