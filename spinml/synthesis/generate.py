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
from spinml.synthesis.card import finish_dataset, model_key
from spinml.synthesis.checkpoint import Checkpoint, shared_checkpoint
from spinml.synthesis.compose import Placed, paste, place
from spinml.synthesis.cutout import Broken, CutOut, find_object
from spinml.synthesis.dataset import shard_schema, write_shard
from spinml.synthesis.diffusion import Order, Sampler
from spinml.synthesis.inpainting import inpainting_channels
from spinml.synthesis.prompts import Prompts
from spinml.synthesis.seeds import derive_seed
from spinml.synthesis.shards import ImageSpec, ShardSpec, plan_shards

UNET = "unet"
"""The folder of a fine-tuning or merge artifact that holds its UNet."""


@dataclass
class Drawn:
    """An image on its way: its order, and the object once it came out whole."""

    spec: ImageSpec
    draws: int = 0
    cut_out: CutOut | None = None


@dataclass
class Tally:
    """Objects drawn and why some were rejected."""

    draws: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


class Generator:
    """Makes shards. Loaded once an actor, used for every shard it gets.

    Args:
        checkpoint: the diffusion model's parts.
        stage: of kind GENERATE.
        inputs: local folders of the artifacts "target_unet" and "inpainting_unet", where the stage
            has them; without them the base models draw.
    """

    def __init__(self, checkpoint: Checkpoint, stage: Stage, inputs: Mapping[str, Path]) -> None:
        params = stage.params
        self.checkpoint, self.stage = checkpoint, stage
        self.settings = GenerationConfig.model_validate(params["settings"])
        self.labels: list[str] = list(params["label_classes"])
        self.words: str = params["target_object"]
        self.prompts = Prompts(PromptConfig.model_validate(params["prompts"]))
        self.object_prompts = self._object_prompts(tuned="target_unet" in inputs)
        self.background_prompt = self.prompts.background(
            params["background"], tuned="inpainting_unet" in inputs
        )
        self.target_unet, self.inpainting_unet = _unets(checkpoint, inputs)
        self.objects = self._sampler(self.settings.guidance_scale)
        self.backgrounds = self._sampler(self.settings.background_guidance_scale)

    @classmethod
    def load(cls, config: ServerConfig, stage: Stage, inputs: Mapping[str, Path]) -> Generator:
        """With the checkpoint of this process; see :class:`Generator`."""
        checkpoint = shared_checkpoint(config.checkpoint, stage.params["checkpoint"])
        return cls(checkpoint, stage, inputs)

    def _object_prompts(self, *, tuned: bool) -> list[str]:
        """What an object of each class is drawn from: in its state, or plain for a detector."""
        if self.stage.detects:
            return [self.prompts.unlabelled(words, tuned=tuned) for words in self.labels]
        return self.prompts.object_by_class(self.words, self.labels, tuned=tuned)

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
            GenerationError: more than half of the shard's objects stay broken.
        """
        began, tally = time.monotonic(), Tally()
        whole = self._draw_objects(spec, tally, progress)
        placed = self._place(whole)
        images = self._paint_backgrounds(whole, placed, spec, progress)
        seconds = time.monotonic() - began
        return self._table(spec, whole, placed, images, tally, seconds)

    def _draw_objects(self, spec: ShardSpec, tally: Tally, progress: Progress) -> list[Drawn]:
        """The objects that came out whole, in the shard's order."""
        everything = [Drawn(image) for image in spec.images]
        total = 2 * len(everything)
        for attempt in range(self.settings.max_draws):
            pending = [drawn for drawn in everything if drawn.cut_out is None]
            if not pending:
                break
            for start in range(0, len(pending), self.settings.batch_size):
                self._draw(pending[start : start + self.settings.batch_size], attempt, tally)
                progress(sum(drawn.cut_out is not None for drawn in everything), total, "halves")
        whole = [drawn for drawn in everything if drawn.cut_out is not None]
        if 2 * len(whole) < len(everything):
            raise GenerationError(
                f"{len(everything) - len(whole)} of {len(everything)} objects stayed broken after "
                f"{self.settings.max_draws} draws each",
                remedy="look at “rejected” by reason; adapt generation.cutout, "
                "generation.min_label_probability or the fine-tuning",
                details={"rejected": dict(tally.rejected), "shard": spec.index},
            )
        return whole

    def _draw(self, batch: Sequence[Drawn], attempt: int, tally: Tally) -> None:
        """Draw every object of ``batch`` once and keep those that are whole."""
        prompts = [self.object_prompts[drawn.spec.label] for drawn in batch]
        seeds = [derive_seed(drawn.spec.seed, "object", attempt) for drawn in batch]
        images = self.objects.sample(self.target_unet, Order(prompts, seeds))
        found = [find_object(image, self.settings.cutout) for image in images]
        agrees = self._labels_agree(images, [drawn.spec.label for drawn in batch])
        for drawn, result, agreed in zip(batch, found, agrees, strict=True):
            drawn.draws += 1
            tally.draws += 1
            if isinstance(result, CutOut) and not agreed:
                result = Broken.LABEL
            if isinstance(result, CutOut):
                drawn.cut_out = result
            else:
                tally.rejected[result.value] += 1

    def _labels_agree(self, images: Sequence[Photo], labels: Sequence[int]) -> list[bool]:
        """Whether the text-image encoder sees each image's wanted class.

        The negatives stand among the prompts: a softmax over the classes alone passes anything.
        """
        encoder, least = self.checkpoint.text_image, self.settings.min_label_probability
        if encoder is None or least <= 0:
            return [True] * len(images)
        wanted = self._object_prompts(tuned=False)
        probabilities = encoder.guess(images, [*wanted, *self.settings.negatives])
        return [bool(row[label] >= least) for row, label in zip(probabilities, labels, strict=True)]

    def _place(self, whole: Sequence[Drawn]) -> list[Placed]:
        """Every object at its random scale and place."""
        size_px, scales = self.checkpoint.config.resolution_px, self.settings.scale_range
        return [
            place(drawn.cut_out, size_px, scales, derive_seed(drawn.spec.seed, "place"))
            for drawn in whole
            if drawn.cut_out is not None
        ]

    def _paint_backgrounds(
        self, whole: Sequence[Drawn], placed: Sequence[Placed], spec: ShardSpec, progress: Progress
    ) -> list[Photo]:
        """Each object in its painted background, RGB ``(px, px, 3)``."""
        images: list[Photo] = []
        size = self.settings.batch_size
        for start in range(0, len(placed), size):
            part = placed[start : start + size]
            seeds = [
                derive_seed(drawn.spec.seed, "background") for drawn in whole[start : start + size]
            ]
            seen = inpainting_channels(
                self.checkpoint, [one.colours for one in part], [one.mask for one in part]
            )
            order = Order([self.background_prompt] * len(part), seeds, extra=seen)
            painted = self.backgrounds.sample(self.inpainting_unet, order)
            images += [paste(*pair) for pair in zip(part, painted, strict=True)]
            progress(len(whole) + len(images), 2 * len(spec.images), "halves")
        return images

    def _table(
        self,
        spec: ShardSpec,
        whole: Sequence[Drawn],
        placed: Sequence[Placed],
        images: Sequence[Photo],
        tally: Tally,
        seconds: float,
    ) -> pa.Table:
        models = {
            "target_model": model_key(self.stage, "target_unet"),
            "background_model": model_key(self.stage, "inpainting_unet"),
            "background_prompt": self.background_prompt,
        }
        rows = [
            models | self._row(drawn, place_, image)
            for drawn, place_, image in zip(whole, placed, images, strict=True)
        ]
        counts = Counter(row["label_name"] for row in rows)
        figures = {
            "label_classes": self.labels,
            "counts": dict(counts),
            "rejected": dict(tally.rejected),
            "draws": tally.draws,
            "left_out": len(spec.images) - len(whole),
            "seconds": round(seconds, 3),
        }
        return pa.Table.from_pylist(rows, schema=shard_schema(self.labels, figures))

    def _row(self, drawn: Drawn, placed: Placed, image: Photo) -> dict[str, Any]:
        mask = placed.mask.astype(np.uint8) * 255
        return {
            "image": {"bytes": encode_png(image), "path": None},
            "label": drawn.spec.label,
            "label_name": self.labels[drawn.spec.label],
            "box": list(placed.box),
            "mask": {"bytes": encode_png(mask), "path": None},
            "prompt": self.object_prompts[drawn.spec.label],
            "seed": drawn.spec.seed,
            "draws": drawn.draws,
        }


def _unets(checkpoint: Checkpoint, inputs: Mapping[str, Path]) -> tuple[Any, Any]:
    """The UNets that draw objects and paint backgrounds."""
    target, painter = inputs.get("target_unet"), inputs.get("inpainting_unet")
    return (
        checkpoint.unet if target is None else checkpoint.load_unet(target / UNET),
        checkpoint.inpainting_unet() if painter is None else checkpoint.load_unet(painter / UNET),
    )


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
