"""GENERATE (§3.3): cut-out objects, placed at random, and their background painted."""

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
from spinml.images import Photo, encode_png, resize
from spinml.pipeline.planner import objects_role
from spinml.pipeline.stages import Progress, Stage, StageContext, silent
from spinml.preference import OBJECT_SEGMENTS
from spinml.synthesis.card import finish_dataset, model_key
from spinml.synthesis.checkpoint import Checkpoint, shared_checkpoint
from spinml.synthesis.compose import Scene, arrange, paste
from spinml.synthesis.cutout import Broken, CutOut
from spinml.synthesis.dataset import shard_figures, shard_schema, write_shard
from spinml.synthesis.diffusion import Order, Sampler
from spinml.synthesis.inpainting import inpainting_channels
from spinml.synthesis.objects import DrawnObject, read_objects
from spinml.synthesis.prompts import Prompts
from spinml.synthesis.seeds import derive_seed
from spinml.synthesis.shards import ImageSpec, ShardSpec, plan_shards
from spinml.synthesis.subjects import UNET


@dataclass(frozen=True)
class Ingredients:
    """An image on its way: its order, and of each target object what was drawn for it."""

    spec: ImageSpec
    objects: tuple[DrawnObject, ...]

    @property
    def cut_outs(self) -> list[CutOut] | None:
        """Its objects; None where one stayed broken."""
        found = [one.cut_out for one in self.objects if one.cut_out is not None]
        return found if len(found) == len(self.objects) else None


@dataclass
class Tally:
    """Objects drawn for a shard and why some were rejected."""

    draws: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Arranged:
    """An image whose objects stand at their places."""

    image: Ingredients
    scene: Scene


class Generator:
    """Makes shards. Loaded once an actor, used for every shard it gets.

    Args:
        checkpoint: the diffusion model's parts.
        stage: of kind GENERATE.
        inputs: local folders of the artifacts "target_objects", "target_2_objects", … and
            "inpainting_unet"; without the last, the checkpoint's own model paints.
    """

    def __init__(self, checkpoint: Checkpoint, stage: Stage, inputs: Mapping[str, Path]) -> None:
        params = stage.params
        self.checkpoint, self.stage = checkpoint, stage
        self.settings = GenerationConfig.model_validate(params["settings"])
        self.labels: list[str] = list(params["label_classes"])
        self.words: list[str] = list(params["target_objects"])
        segments = OBJECT_SEGMENTS[: len(self.words)]
        self.drawings = [inputs[objects_role(segment)] for segment in segments]
        self.prompts = Prompts(PromptConfig.model_validate(params["prompts"]))
        painter = inputs.get("inpainting_unet")
        self.size_px = self.settings.image_px or checkpoint.config.resolution_px
        self.background_prompt = self.prompts.background(
            params["background"], tuned=painter is not None
        )
        self.inpainting_unet: Any = (
            checkpoint.inpainting_unet()
            if painter is None
            else checkpoint.load_unet(painter / UNET)
        )
        self.backgrounds = Sampler(
            checkpoint,
            steps=self.settings.steps,
            guidance_scale=self.settings.background_guidance_scale,
            negative=self.prompts.negative,
            batch_size=self.settings.batch_size,
        )

    @classmethod
    def load(cls, config: ServerConfig, stage: Stage, inputs: Mapping[str, Path]) -> Generator:
        """With the checkpoint of this process; see :class:`Generator`."""
        checkpoint = shared_checkpoint(config.checkpoint, stage.params["checkpoint"])
        return cls(checkpoint, stage, inputs)

    def make_shard(self, spec: ShardSpec, progress: Progress = silent) -> pa.Table:
        """The rows of one shard; columns as in :mod:`spinml.synthesis.dataset`.

        Args:
            progress: told how many images of the shard are painted.

        Raises:
            ArtifactError: the drawings were made for other images.
            GenerationError: more than half of the shard's images lack an object.
        """
        began = time.monotonic()
        drawn = zip(*(read_objects(folder, spec) for folder in self.drawings), strict=True)
        images = [Ingredients(*pair) for pair in zip(spec.images, drawn, strict=True)]
        tally = self._tally(spec)
        arranged = self._arrange(spec, images, tally)
        painted = self._paint_backgrounds(arranged, spec, progress)
        return self._table(spec, arranged, painted, tally, time.monotonic() - began)

    def _tally(self, spec: ShardSpec) -> Tally:
        """What drawing the shard's objects took."""
        tally = Tally()
        for folder in self.drawings:
            figures = shard_figures(folder / spec.file_name)
            tally.draws += figures["draws"]
            tally.rejected.update(figures["rejected"])
        return tally

    def _arrange(
        self, spec: ShardSpec, images: Sequence[Ingredients], tally: Tally
    ) -> list[Arranged]:
        """The images whose objects are all whole, each at its random scale and place.

        Raises:
            GenerationError: more than half of the shard's images are not among them.
        """
        scales = self.settings.scale_range
        arranged = []
        for image in images:
            cut_outs = image.cut_outs
            if cut_outs is None:
                continue
            scene = arrange(cut_outs, self.size_px, scales, derive_seed(image.spec.seed, "place"))
            if scene is None:
                tally.rejected[Broken.HIDDEN.value] += 1
            else:
                arranged.append(Arranged(image, scene))
        if 2 * len(arranged) < len(images):
            raise GenerationError(
                f"{len(images) - len(arranged)} of {len(images)} images lack a whole object, or "
                "a place where their objects do not hide each other",
                remedy="look at “rejected” by reason; adapt generation.cutout, "
                "generation.min_label_probability, generation.scale_range or the fine-tuning",
                details={"rejected": dict(tally.rejected), "shard": spec.index},
            )
        return arranged

    def _paint_backgrounds(
        self, arranged: Sequence[Arranged], spec: ShardSpec, progress: Progress
    ) -> list[Photo]:
        """Each image's objects in one painted background, RGB ``(px, px, 3)``.

        The background is painted at the checkpoint's resolution, around the objects scaled to it.
        """
        images: list[Photo] = []
        drawn_px = self.checkpoint.config.resolution_px
        size = self.settings.batch_size
        for start in range(0, len(arranged), size):
            batch = arranged[start : start + size]
            part = [one.scene.whole.scaled(drawn_px) for one in batch]
            seeds = [derive_seed(one.image.spec.seed, "background") for one in batch]
            seen = inpainting_channels(
                self.checkpoint, [one.colours for one in part], [one.mask for one in part]
            )
            order = Order([self.background_prompt] * len(part), seeds, extra=seen)
            painted = self.backgrounds.sample(self.inpainting_unet, order)
            images += [
                paste(one.scene.whole, resize(photo, self.size_px, self.size_px))
                for one, photo in zip(batch, painted, strict=True)
            ]
            progress(len(images), len(spec.images), "images")
        return images

    def _table(
        self,
        spec: ShardSpec,
        arranged: Sequence[Arranged],
        images: Sequence[Photo],
        tally: Tally,
        seconds: float,
    ) -> pa.Table:
        made_by = {
            "target_models": [
                shard_figures(folder / spec.file_name)["model"] for folder in self.drawings
            ],
            "background_model": model_key(self.stage, "inpainting_unet"),
        }
        pairs = zip(arranged, images, strict=True)
        rows = [made_by | self._row(one, image) for one, image in pairs]
        counts = Counter(row["label_name"] for row in rows)
        figures = made_by | {
            "target_objects": self.words,
            "label_classes": self.labels,
            "counts": dict(counts),
            "rejected": dict(tally.rejected),
            "draws": tally.draws,
            "left_out": len(spec.images) - len(arranged),
            "seconds": round(seconds, 3),
        }
        return pa.Table.from_pylist(rows, schema=shard_schema(self.labels, figures))

    def _row(self, arranged: Arranged, image: Photo) -> dict[str, Any]:
        spec, scene, objects = arranged.image.spec, arranged.scene, arranged.image.objects
        masks = [mask.astype(np.uint8) * 255 for mask in scene.masks]
        return {
            "image": {"bytes": encode_png(image), "path": None},
            "label": spec.label,
            "label_name": self.labels[spec.label],
            "boxes": [list(map(float, box)) for box in scene.boxes],
            "box_labels": list(range(len(self.words))),
            "masks": [{"bytes": encode_png(mask), "path": None} for mask in masks],
            "prompts": [one.prompt for one in objects],
            "background_prompt": self.background_prompt,
            "seed": spec.seed,
            "draws": sum(one.draws for one in objects),
        }


def run_generate_local(context: StageContext) -> dict[str, Any]:
    """GENERATE in this process: every shard in order, into ``context.out``."""
    generator = Generator.load(context.config, context.stage, context.inputs)
    shards = plan_shards(context.params)
    total = sum(len(spec.images) for spec in shards)
    done = 0
    for spec in shards:
        write_shard(generator.make_shard(spec), context.out / spec.file_name)
        done += len(spec.images)
        context.progress(done, total, "images")
    return finish_dataset(context.out, context.stage)
