"""The tiny checkpoint, made once a session, and what stages are run with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from spinml.config import ServerConfig
from spinml.synthesis.checkpoint import Checkpoint
from tests.synthesis.tiny import make_tiny_checkpoint, tiny_config

torch.set_num_threads(1)  # tiny tensors: threads cost more than they give


@pytest.fixture(scope="session")
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def config(checkpoint_folder: Path) -> ServerConfig:
    return tiny_config(checkpoint_folder)


@pytest.fixture(scope="session")
def checkpoint(config: ServerConfig) -> Checkpoint:
    return Checkpoint.load(config.checkpoint)
