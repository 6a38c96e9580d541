"""Runs of bundles that were sanitized at home, submitted and followed from a cluster.

spinml device sanitize examples/pet.yaml photos/*.jpg --out box/pet.spinml     # at home
ray job submit --working-dir box -- spinml device send pet.spinml --server URL --watch
"""

from __future__ import annotations

import typer

from spinml.device.share_cli import send

if __name__ == "__main__":
    typer.run(send)
