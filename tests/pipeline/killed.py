"""What a killed process leaves behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def at_work(below: Path) -> Iterator[Path]:
    """The scratch folder below ``below`` of a process that works until it is killed, at the end."""
    command = [sys.executable, "-c", _AT_WORK, str(below)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Path(process.stdout.readline().strip())
        finally:
            process.kill()


def leave_behind(below: Path) -> Path:
    """The scratch folder of a process that was killed while it worked."""
    with at_work(below) as folder:
        pass
    assert (folder / "image.png").exists()
    return folder
