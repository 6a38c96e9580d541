"""DRAW (§3.3): one target object on plain ground, drawn until it is whole, and cut out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from spinml.config import GenerationConfig, ServerConfig
from spinml.errors import GenerationError
from spinml.pipeline.stages import Progress, Stage, StageContext, silent
from spinml.preference import TARGET
from spinml.synthesis.card import model_key
from spinml.synthesis.checkpoint import Checkpoint, shared_checkpoint
from spinml.synthesis.cutout import Broken, CutOut, find_object
from spinml.synthesis.dataset import write_shard
from spinml.synthesis.diffusion import Order, Sampler
from spinml.synthesis.objects import DrawnObject, objects_table, summarise_objects
from spinml.synthesis.seeds import derive_seed
from spinml.synthesis.shards import ShardSpec, plan_shards
from spinml.synthesis.subjects import load_subject


class Drawer:
    """Draws shards of one target object. Loaded once an actor, used for every shard it gets.

    Args:
        checkpoint: the diffusion model's parts.
        stage: of kind DRAW.
        inputs: local folder of the artifact "unet", where the stage has it.
    """

    def __init__(self, checkpoint: Checkpoint, stage: Stage, inputs: Mapping[str, Path]) -> None:
        self.checkpoint, self.stage = checkpoint, stage
        self.settings = GenerationConfig.model_validate(stage.params["settings"])
        self.subject = load_subject(checkpoint, stage, inputs)
        self.sampler = Sampler(
            checkpoint,
            steps=self.settings.steps,
            guidance_scale=self.settings.guidance_scale,
            negative=self.subject.prompts.negative,
            batch_size=self.settings.batch_size,
        )

    @classmethod
    def load(cls, config: ServerConfig, stage: Stage, inputs: Mapping[str, Path]) -> Drawer:
        """With the checkpoint of this process; see :class:`Drawer`."""
        return cls(shared_checkpoint(config.checkpoint, stage.params["checkpoint"]), stage, inputs)

    def make_shard(self, spec: ShardSpec, progress: Progress = silent) -> pa.Table:
        """The rows of one shard; columns as in :mod:`spinml.synthesis.objects`.

        Args:
            progress: told how many objects of the shard are whole.

        Raises:
            GenerationError: more than half of the shard's objects stay broken.
        """
        began, rejected = time.monotonic(), Counter[str]()
        objects = [
            DrawnObject(self.subject.prompt(image.label), image.seed) for image in spec.images
        ]
        labels = [image.label for image in spec.images]
        for attempt in range(self.settings.max_draws):
            pending = [place for place, one in enumerate(objects) if one.cut_out is None]
            for start in range(0, len(pending), self.settings.batch_size):
                places = pending[start : start + self.settings.batch_size]
                batch = [objects[place] for place in places]
                rejected += self._draw(batch, [labels[place] for place in places], attempt)
                whole = sum(one.cut_out is not None for one in objects)
                progress(whole, len(objects), "objects")
        missing = sum(one.cut_out is None for one in objects)
        if 2 * missing > len(objects):
            raise self._broken(missing, len(objects), rejected, spec)
        figures = {
            "model": model_key(self.stage, "unet"),
            "objects": len(objects) - missing,
            "missing": missing,
            "draws": sum(one.draws for one in objects),
            "rejected": dict(rejected),
            "seconds": round(time.monotonic() - began, 3),
        }
        return objects_table(objects, figures)

    def _draw(
        self, batch: Sequence[DrawnObject], labels: Sequence[int], attempt: int
    ) -> Counter[str]:
        """Draw each of ``batch`` once and keep what is whole; the others counted by reason."""
        # The first object's seeds do not tell how many others there are.
        segment = self.subject.segment
        own = () if segment == TARGET else (segment,)
        seeds = [derive_seed(one.seed, "object", attempt, *own) for one in batch]
        images = self.sampler.sample(self.subject.unet, Order([one.prompt for one in batch], seeds))
        found = [find_object(image, self.settings.cutout) for image in images]
        agrees = self.subject.agrees(self.checkpoint, self.settings, images, labels)
        rejected: Counter[str] = Counter()
        for one, result, agreed in zip(batch, found, agrees, strict=True):
            one.draws += 1
            if not isinstance(result, CutOut):
                rejected[result.value] += 1
            elif agreed:
                one.cut_out = result
            else:
                rejected[Broken.LABEL.value] += 1
        return rejected

    def _broken(
        self, missing: int, total: int, rejected: Mapping[str, int], spec: ShardSpec
    ) -> GenerationError:
        return GenerationError(
            f"{missing} of {total} objects stayed broken after {self.settings.max_draws} draws of "
            "each",
            remedy="look at “rejected” by reason; adapt generation.cutout, "
            "generation.min_label_probability or the fine-tuning",
            details={"rejected": dict(rejected), "shard": spec.index},
        )


def finish_objects(folder: Path, stage: Stage) -> dict[str, Any]:
    """The figures of all shards of a DRAW stage; nothing is written beside them."""
    del stage
    return summarise_objects(folder)


def run_draw_local(context: StageContext) -> dict[str, Any]:
    """DRAW in this process: every shard in order, into ``context.out``."""
    drawer = Drawer.load(context.config, context.stage, context.inputs)
    shards = plan_shards(context.params)
    total, done = sum(len(spec.images) for spec in shards), 0
    for spec in shards:
        write_shard(drawer.make_shard(spec), context.out / spec.file_name)
        done += len(spec.images)
        context.progress(done, total, "objects")
    return finish_objects(context.out, context.stage)
