"""Generation (§3.3): objects on plain ground, cut out, placed, their background painted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from spinml.config import GenerationConfig, PromptConfig, ServerConfig
from spinml.errors import GenerationError
from spinml.images import Photo, encode_png
from spinml.pipeline.stages import Progress, Stage, StageContext, silent
from spinml.synthesis.card import finish_dataset, model_key, target_models
from spinml.synthesis.checkpoint import Checkpoint, shared_checkpoint
from spinml.synthesis.compose import Scene, arrange, paste
from spinml.synthesis.cutout import Broken, CutOut, find_object
from spinml.synthesis.dataset import shard_schema, write_shard
from spinml.synthesis.diffusion import Order, Sampler
from spinml.synthesis.inpainting import inpainting_channels
from spinml.synthesis.prompts import Prompts
from spinml.synthesis.seeds import derive_seed
from spinml.synthesis.shards import ImageSpec, ShardSpec, plan_shards
from spinml.synthesis.subjects import UNET, Subject, load_subjects


@dataclass
class Drawn:
    """An image on its way: its order, and of each target object the cut-out once it is whole."""

    spec: ImageSpec
    cut_outs: list[CutOut | None]
    draws: int = 0

    @property
    def whole(self) -> list[CutOut]:
        """The objects that are whole, in their order."""
        return [cut_out for cut_out in self.cut_outs if cut_out is not None]

    @property
    def complete(self) -> bool:
        """Whether all are."""
        return len(self.whole) == len(self.cut_outs)


@dataclass
class Tally:
    """Objects drawn and why some were rejected."""

    draws: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Arranged:
    """An image whose objects stand at their places."""

    drawn: Drawn
    scene: Scene


class Generator:
    """Makes shards. Loaded once an actor, used for every shard it gets.

    Args:
        checkpoint: the diffusion model's parts.
        stage: of kind GENERATE.
        inputs: local folders of the artifacts "target_unet", "target_2_unet", … and
            "inpainting_unet", where the stage has them; without one the base model draws.
    """

    def __init__(self, checkpoint: Checkpoint, stage: Stage, inputs: Mapping[str, Path]) -> None:
        params = stage.params
        self.checkpoint, self.stage = checkpoint, stage
        self.settings = GenerationConfig.model_validate(params["settings"])
        self.labels: list[str] = list(params["label_classes"])
        self.prompts = Prompts(PromptConfig.model_validate(params["prompts"]))
        self.subjects = load_subjects(checkpoint, stage, inputs, self.prompts)
        painter = inputs.get("inpainting_unet")
        self.background_prompt = self.prompts.background(
            params["background"], tuned=painter is not None
        )
        self.inpainting_unet: Any = (
            checkpoint.inpainting_unet()
            if painter is None
            else checkpoint.load_unet(painter / UNET)
        )
        self.objects = self._sampler(self.settings.guidance_scale)
        self.backgrounds = self._sampler(self.settings.background_guidance_scale)

    @classmethod
    def load(cls, config: ServerConfig, stage: Stage, inputs: Mapping[str, Path]) -> Generator:
        """With the checkpoint of this process; see :class:`Generator`."""
        checkpoint = shared_checkpoint(config.checkpoint, stage.params["checkpoint"])
        return cls(checkpoint, stage, inputs)

    def _sampler(self, guidance_scale: float) -> Sampler:
        return Sampler(
            self.checkpoint,
            steps=self.settings.steps,
            guidance_scale=guidance_scale,
            negative=self.prompts.negative,
            batch_size=self.settings.batch_size,
        )

    def generate_shard(self, spec: ShardSpec, progress: Progress = silent) -> pa.Table:
        """The rows of one shard; columns as in :mod:`spinml.synthesis.dataset`.

        Args:
            progress: told of images of this shard, counting objects and backgrounds a half each.

        Raises:
            GenerationError: more than half of the shard's images stay without whole objects.
        """
        began, tally = time.monotonic(), Tally()
        arranged = self._arrange(spec, self._draw_objects(spec, tally, progress), tally)
        images = self._paint_backgrounds(arranged, spec, progress)
        return self._table(spec, arranged, images, tally, time.monotonic() - began)

    def _draw_objects(self, spec: ShardSpec, tally: Tally, progress: Progress) -> list[Drawn]:
        """The shard's images in order, with those of their objects that came out whole."""
        everything = [Drawn(image, [None] * len(self.subjects)) for image in spec.images]
        for place, subject in enumerate(self.subjects):
            for attempt in range(self.settings.max_draws):
                pending = [drawn for drawn in everything if drawn.cut_outs[place] is None]
                for start in range(0, len(pending), self.settings.batch_size):
                    batch = pending[start : start + self.settings.batch_size]
                    self._draw(batch, place, subject, attempt, tally)
                    done = sum(len(drawn.whole) for drawn in everything) // len(self.subjects)
                    progress(done, 2 * len(everything), "halves")
        return everything

    def _draw(
        self, batch: Sequence[Drawn], place: int, subject: Subject, attempt: int, tally: Tally
    ) -> None:
        """Draw ``subject`` once for every image of ``batch`` and keep what is whole."""
        labels = [drawn.spec.label for drawn in batch]
        # The first object's seeds do not tell how many others there are.
        own = (subject.segment,) if place else ()
        seeds = [derive_seed(drawn.spec.seed, "object", attempt, *own) for drawn in batch]
        prompts = [subject.prompt(label) for label in labels]
        images = self.objects.sample(subject.unet, Order(prompts, seeds))
        found = [find_object(image, self.settings.cutout) for image in images]
        agrees = subject.agrees(self.checkpoint, self.settings, images, labels)
        for drawn, result, agreed in zip(batch, found, agrees, strict=True):
            drawn.draws += 1
            tally.draws += 1
            if isinstance(result, CutOut) and not agreed:
                result = Broken.LABEL
            if isinstance(result, CutOut):
                drawn.cut_outs[place] = result
            else:
                tally.rejected[result.value] += 1

    def _arrange(
        self, spec: ShardSpec, everything: Sequence[Drawn], tally: Tally
    ) -> list[Arranged]:
        """The images whose objects are all whole, each at its random scale and place.

        Raises:
            GenerationError: more than half of the shard's images are not among them.
        """
        size_px, scales = self.checkpoint.config.resolution_px, self.settings.scale_range
        arranged = []
        for drawn in everything:
            if not drawn.complete:
                continue
            scene = arrange(drawn.whole, size_px, scales, derive_seed(drawn.spec.seed, "place"))
            if scene is None:
                tally.rejected[Broken.HIDDEN.value] += 1
            else:
                arranged.append(Arranged(drawn, scene))
        if 2 * len(arranged) < len(everything):
            raise GenerationError(
                f"{len(everything) - len(arranged)} of {len(everything)} images stayed without "
                f"whole objects after {self.settings.max_draws} draws of each",
                remedy="look at “rejected” by reason; adapt generation.cutout, "
                "generation.min_label_probability, generation.scale_range or the fine-tuning",
                details={"rejected": dict(tally.rejected), "shard": spec.index},
            )
        return arranged

    def _paint_backgrounds(
        self, arranged: Sequence[Arranged], spec: ShardSpec, progress: Progress
    ) -> list[Photo]:
        """Each image's objects in one painted background, RGB ``(px, px, 3)``."""
        images: list[Photo] = []
        size = self.settings.batch_size
        for start in range(0, len(arranged), size):
            batch = arranged[start : start + size]
            part = [one.scene.whole for one in batch]
            seeds = [derive_seed(one.drawn.spec.seed, "background") for one in batch]
            seen = inpainting_channels(
                self.checkpoint, [one.colours for one in part], [one.mask for one in part]
            )
            order = Order([self.background_prompt] * len(part), seeds, extra=seen)
            painted = self.backgrounds.sample(self.inpainting_unet, order)
            images += [paste(*pair) for pair in zip(part, painted, strict=True)]
            progress(len(arranged) + len(images), 2 * len(spec.images), "halves")
        return images

    def _table(
        self,
        spec: ShardSpec,
        arranged: Sequence[Arranged],
        images: Sequence[Photo],
        tally: Tally,
        seconds: float,
    ) -> pa.Table:
        models = {
            "target_models": target_models(self.stage),
            "background_model": model_key(self.stage, "inpainting_unet"),
            "background_prompt": self.background_prompt,
        }
        rows = [models | self._row(one, image) for one, image in zip(arranged, images, strict=True)]
        counts = Counter(row["label_name"] for row in rows)
        figures = {
            "target_objects": [subject.words for subject in self.subjects],
            "label_classes": self.labels,
            "counts": dict(counts),
            "rejected": dict(tally.rejected),
            "draws": tally.draws,
            "left_out": len(spec.images) - len(arranged),
            "seconds": round(seconds, 3),
        }
        return pa.Table.from_pylist(rows, schema=shard_schema(self.labels, figures))

    def _row(self, arranged: Arranged, image: Photo) -> dict[str, Any]:
        spec, scene = arranged.drawn.spec, arranged.scene
        masks = [mask.astype(np.uint8) * 255 for mask in scene.masks]
        return {
            "image": {"bytes": encode_png(image), "path": None},
            "label": spec.label,
            "label_name": self.labels[spec.label],
            "boxes": [list(map(float, box)) for box in scene.boxes],
            "box_labels": list(range(len(self.subjects))),
            "masks": [{"bytes": encode_png(mask), "path": None} for mask in masks],
            "prompts": [subject.prompt(spec.label) for subject in self.subjects],
            "seed": spec.seed,
            "draws": arranged.drawn.draws,
        }


def run_generate_local(context: StageContext) -> dict[str, Any]:
    """GENERATE in this process: every shard in order, into ``context.out``."""
    generator = Generator.load(context.config, context.stage, context.inputs)
    shards = plan_shards(context.params)
    total = sum(len(spec.images) for spec in shards)
    done = 0
    for spec in shards:
        write_shard(generator.generate_shard(spec), context.out / spec.file_name)
        done += len(spec.images)
        context.progress(done, total, "images")
    return finish_dataset(context.out, context.stage)
