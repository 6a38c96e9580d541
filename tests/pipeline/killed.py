"""What a killed process leaves behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_AT_WORK = """
import sys, time
from pathlib import Path
from spinml.pipeline.scratch import scratch
with scratch("segment", Path(sys.argv[1])) as folder:
    (folder / "image.png").write_text("private")
    print(folder, flush=True)
    time.sleep(600)
"""


def start_work(below: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process at work in a scratch folder below ``below``; end it."""
    command = [sys.executable, "-c", _AT_WORK, str(below)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def leave_behind(below: Path) -> Path:
    """The scratch folder of a process that was killed while it worked."""
    process, folder = start_work(below)
    with process:
        process.kill()
    assert (folder / "image.png").exists()
    return folder
