"""``python -m tests.chaos.service CONFIG``: what ``spinml serve`` does, with stages of no work."""

from __future__ import annotations

import sys
from pathlib import Path

from spinml.config import load_config
from spinml.service.launch import serve_forever

if __name__ == "__main__":
    serve_forever(
        load_config(Path(sys.argv[1])),
        num_cpus=2,
        num_gpus=2,
        execute="tests.chaos.stages:on_ray",
    )
