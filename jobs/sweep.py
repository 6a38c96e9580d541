r"""Privacy-utility sweeps (§5.3) on a Ray cluster; ``spinml sweep`` is the same on this machine.

python jobs/sweep.py examples/sweep.yaml --config cluster/laptop.yaml
ray job submit --working-dir . -- python jobs/sweep.py examples/sweep.yaml --server URL \
    --key-file /run/spinml-keys/NAME     # as runs of a service: the README's “Sweeps”
"""

from __future__ import annotations

import sys

import typer

from spinml.errors import SpinMLError
from spinml.tradeoffs.command import sweep

if __name__ == "__main__":
    try:
        typer.run(sweep)
    except SpinMLError as error:
        sys.exit(f"{error.code}: {error}")
