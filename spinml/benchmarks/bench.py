"""What benchmarks share: what they are given, and the rows that they give."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from spinml.config import ServerConfig
from spinml.synthesis.checkpoint import Checkpoint
from spinml.synthesis.examples import ReferenceSet
from spinml.synthesis.prompts import Prompts
from spinml.synthesis.references import prepare_references


@dataclass(frozen=True)
class Row:
    """One measured figure; ``wanted`` says what was promised, ``met`` whether it holds."""

    name: str
    value: float
    unit: str
    wanted: str = ""
    met: bool | None = None


@dataclass(frozen=True)
class Bench:
    """What benchmarks are given. ``repeats`` pairs of measurements; medians are reported."""

    config: ServerConfig
    repeats: int = 3
    steps: int = 10
    tell: Callable[[str], None] = lambda line: None
    """Is told, in a line, what is measured next."""

    @cached_property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint.load(self.config.checkpoint)

    def references(self, count: int) -> ReferenceSet:
        """Reference images of noise: their content does not change the time."""
        size_px = self.config.checkpoint.resolution_px
        rng = np.random.default_rng(0)
        images = [rng.integers(0, 256, (size_px, size_px, 3), np.uint8) for _ in range(count)]
        caption = Prompts(self.config.prompts).unlabelled("dog", tuned=True)
        return ReferenceSet(prepare_references(images, "target", size_px), [caption] * count)


def in_own_process(module: str, what: str, config: ServerConfig, *more: str) -> dict[str, Any]:
    """What ``python -m module what CONFIG.json more…`` prints last: JSON.

    Raises:
        subprocess.CalledProcessError: it failed; why is on stderr.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(config.model_dump_json())
        file.flush()
        command = [sys.executable, "-m", module, what, file.name, *more]
        out = subprocess.run(  # noqa: S603 - our own program
            command, check=True, stdout=subprocess.PIPE, text=True
        ).stdout  # what it says on stderr, such as why it failed, is seen
    figures: dict[str, Any] = json.loads(out.splitlines()[-1])
    return figures
