"""Where the stages read and write: renders in, one folder a stage out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from spinml.home.pretrain import renders
from spinml.home.pretrain.renders import Renders

HELDOUT_SHARE = 0.03


@dataclass(frozen=True)
class Workspace:
    """Folders of one pretraining, and where its renders are.

    Attributes:
        public: folder of the training shards, one subfolder a task.
        heldout: folder of the held-out shards, likewise; without one the last 3 % of `public` are
            held out.
        out: everything the stages write; a stage's folder is ``out/<stage>``.
        device: torch device of the training.
        limit: most rows to load for training.
    """

    public: Path
    heldout: Path | None
    out: Path
    device: str = "cpu"
    limit: int | None = None

    @property
    def logs(self) -> Path:
        """Figures and sample grids."""
        return self.out / "logs"

    def folder(self, stage: str) -> Path:
        """Where a stage keeps its state and its result."""
        return self.out / stage

    def model(self, stage: str) -> Path:
        """A finished stage's model folder; an error names the stage that must run first."""
        path = self.folder(stage) / "model"
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist: run the stage {stage!r} first")
        return path

    def start(self, stage: str) -> Path | None:
        """Weights for a stage that was not trained here: `unpack_checkpoint` put them there."""
        folder = self.folder(stage)
        untrained = not (folder / "state.pt").exists()
        return folder / "model" if untrained and (folder / "model").exists() else None

    @cached_property
    def _split(self) -> tuple[Renders, Renders]:
        everything = renders.load(self.public, self.limit)
        if self.heldout is not None and any(self.heldout.glob("*/shard_*.npz")):
            return everything, renders.load(self.heldout)
        cut = len(everything) - max(1, round(HELDOUT_SHARE * len(everything)))
        return everything.slice(0, cut), everything.slice(cut, len(everything))

    @property
    def train(self) -> Renders:
        """Renders to train on."""
        return self._split[0]

    @property
    def test(self) -> Renders:
        """Renders that no stage trains on."""
        return self._split[1]
