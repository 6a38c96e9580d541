"""The paper's tables 3-7 and figures 3-6 on the simulated homes, beside its numbers (§5).

python jobs/reproduce.py --config cluster/laptop.yaml --list
python jobs/reproduce.py --config cluster/laptop.yaml --tables 3a,4a,5 --results docs/results
ray job submit --working-dir . -- python jobs/reproduce.py --config cluster/gpu-node.yaml \
    --images-per-class 400 --steps 800 --address auto
"""

from __future__ import annotations

import sys

import typer

from spinml.errors import SpinMLError
from spinml.reproduce.command import reproduction

if __name__ == "__main__":
    try:
        typer.run(reproduction)
    except SpinMLError as error:
        sys.exit(f"{error.code}: {error}")
