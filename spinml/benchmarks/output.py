"""Standard output for the result alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout


@contextmanager
def nothing_on_stdout() -> Iterator[None]:
    """Meanwhile, what this process or a child of it prints goes to stderr.

    Ray prints on the driver's stdout what its nodes report, such as a worker that was killed, also
    with ``log_to_driver=False``; libraries and child processes print there as they like.
    """
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
