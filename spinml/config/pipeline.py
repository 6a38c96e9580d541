"""The models, and what the stages do with them."""

from __future__ import annotations

from string import Formatter
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from spinml.config.part import Part

DType = Literal["auto", "float32", "bfloat16", "float16"]


class CheckpointConfig(Part):
    """Where the diffusion models come from: each ``home``, a local folder or a hub name.

    ``owner/model@revision`` pins a hub model to a commit, tag or branch.
    """

    base: str = "home"
    inpainting: str | None = None
    """None: the inpainting UNet inside ``base``'s folder."""
    controlnets: dict[str, str] = Field(default_factory=dict)
    """Feature → ControlNet; others: those inside ``base``'s folder (``controlnet_<feature>``)."""
    resolution_px: int = Field(default=128, ge=32, multiple_of=8)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: DType = "auto"
    """auto: bfloat16 where the device computes in it, else float32."""


def _template(*fields: str) -> AfterValidator:
    """A prompt template must have each of ``fields`` and no other."""

    def check(template: str) -> str:
        found = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
        if found != set(fields):
            wanted = ", ".join(f"{{{name}}}" for name in fields)
            raise ValueError(f"the template has the fields {sorted(found)}, wanted {wanted}")
        return template

    return AfterValidator(check)


class PromptConfig(Part):
    """Prompt templates (§3.3: every object × class)."""

    object: Annotated[str, _template("object", "label", "token")] = (
        "a {token}{object} is {label}, plain background"
    )
    object_unlabelled: Annotated[str, _template("object", "token")] = (
        "a {token}{object}, plain background"
    )
    background: Annotated[str, _template("background", "token")] = "a {token}{background}"
    negative: str = ""
    identifier_token: str = "xyz"
    """DreamBooth's rare token; stands in prompts of fine-tuned models alone."""


class ExpandConfig(Part):
    """L1 features → reference images by ControlNet (§3.3)."""

    images_per_feature: int = Field(default=4, ge=1, le=64)
    steps: int = Field(default=20, ge=1)
    guidance_scale: float = Field(default=3.0, ge=0)
    conditioning_scale: float = Field(default=1.0, gt=0)


class FinetuneConfig(Part):
    """DreamBooth (§3.3, B.1)."""

    method: Literal["full", "lora"] = "lora"
    """lora: low-rank changes of attention alone: faster, and a small model keeps more of what it
    knows of the classes (jobs/probe_finetuning.py); full: every weight, as the paper does (B.1)."""
    lora_rank: int = Field(default=8, ge=1)
    steps: int = Field(default=200, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    batch_size: int = Field(default=4, ge=1)
    gradient_accumulation: int = Field(default=1, ge=1)
    prior_loss_weight: float = Field(default=0.01, ge=0)
    class_images: int = Field(default=32, ge=0)
    """Class images for prior preservation; 0 turns it off."""
    gradient_checkpointing: bool = False
    cache: bool = True
    """Cache latents and prompt embeddings; False exists for the benchmark."""
    guess_labels: bool = False
    """Let the text-image encoder guess each shared reference's class for its caption: worth it
    where it knows such objects well, for a wrong guess teaches the class wrongly."""


class CutoutConfig(Part):
    """When an object drawn on plain ground counts as broken (spinml.synthesis.cutout)."""

    weak_difference: float = Field(default=18.0, ge=0)
    """Grey levels by which every part of an object differs from the ground."""
    strong_difference: float = Field(default=36.0, ge=0)
    """Grey levels by which an object differs from the ground somewhere."""
    ground_tolerance: float = Field(default=40.0, ge=0, le=255)
    """How far the ground may be from plain grey."""
    min_area_share: float = Field(default=0.02, ge=0, le=1)
    max_area_share: float = Field(default=0.75, ge=0, le=1)
    max_second_share: float = Field(default=0.25, ge=0)
    """Area of the second largest part as a share of the largest."""
    max_hole_share: float = Field(default=0.004, ge=0, le=1)
    """Share of the image up to which a hole is fur near the ground's grey, and is filled."""
    max_border_share: float = Field(default=0.25, ge=0, le=1)
    """Share of the image's frame that the object may touch."""


_Share = Annotated[float, Field(gt=0, le=1)]


def _ascending(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError("the first number is the least, the second the most")
    return pair


class GenerationConfig(Part):
    """Synthetic dataset (§3.3, B.2)."""

    images_per_class: int = Field(default=400, ge=1)
    steps: int = Field(default=20, ge=1)
    guidance_scale: float = Field(default=1.5, ge=0)
    """Higher draws the wanted class more surely and all objects more alike."""
    background_guidance_scale: float = Field(default=2.0, ge=0)
    batch_size: int = Field(default=16, ge=1)
    shard_size: int = Field(default=64, ge=1)
    max_draws: int = Field(default=4, ge=1)
    """How often an object is drawn until it is whole; after that it is left out."""
    cutout: CutoutConfig = CutoutConfig()
    min_label_probability: float = Field(default=0.3, ge=0, le=1)
    """Least probability of the wanted class by the checkpoint's text-image encoder, among all
    classes and the negative prompts; 0 switches the check off."""
    negatives: tuple[str, ...] = ("plain background", "a blurred shape, plain background")
    """Prompts of what is no object, for the label check (a softmax over the wanted classes alone
    passes anything)."""
    scale_range: Annotated[tuple[_Share, _Share], AfterValidator(_ascending)] = (0.2, 0.6)
    """The object's longer side as a share of the image's side, least and most."""
    image_px: int | None = Field(default=None, ge=32)
    """Side of the dataset's images. None: ``checkpoint.resolution_px``, at which objects and
    backgrounds are drawn. Larger: placed objects keep the detail with which they were drawn, and
    backgrounds are scaled up."""


class TrainingConfig(Part):
    """The specialised classifier (§4.3, B.2)."""

    backbone: Literal["efficientnet_lite0", "mobilenet_v2"] = "efficientnet_lite0"
    """efficientnet_lite0, whose weights a package has, or mobilenet_v2, downloaded once."""
    weights: str | None = None
    """None: the backbone's own pretrained weights; or a local state-dict file (safetensors)."""
    frozen_share: float = Field(default=0.33, ge=0, le=1)
    """Share of the backbone's blocks, from the image on, that keep their pretrained weights: edges
    and textures are the same everywhere, and the first blocks cost most. 1: the head alone learns.
    """
    image_px: int = Field(default=192, ge=32)
    learning_rate: float = Field(default=1e-3, gt=0)
    batch_size: int = Field(default=128, ge=1)
    epochs: int = Field(default=5, ge=1)
    validation_share: float = Field(default=0.2, gt=0, lt=1)
    num_workers: int = Field(default=1, ge=1)
    """Ray Train workers (data parallel)."""


class DetectionConfig(Part):
    """The specialised detector, YOLOv8 (§4.3, B.2). Augmentation is ultralytics' own.

    It trains in one process; ``resources.training`` is what that holds.
    """

    weights: str = "home"
    """home: backbone, neck and box branch of the bundled segmenter, which was trained on the
    simulated home's public world; yolov8n.pt, pretrained on COCO and downloaded once; a file of
    ultralytics' on every worker; or an architecture such as yolov8n.yaml, which starts from noise.
    """
    freeze: int = Field(default=0, ge=0, le=22)
    """How many of the network's layers, from the image on, keep their weights; 10: the backbone."""
    image_px: int = Field(default=192, ge=64, multiple_of=32)
    learning_rate: float = Field(default=0.01, gt=0)
    batch_size: int = Field(default=16, ge=2)
    epochs: int = Field(default=5, ge=1)
    validation_share: float = Field(default=0.1, gt=0, lt=1)


class MeasureConfig(Part):
    """What SIM embeds with (eq. 2)."""

    embedder: str = "home"
    """home: the bundled ONNX embedder; or a hub name / folder of CLIP, DINOv2 or BLIP-2."""
    max_embeddings: int = Field(default=400, ge=1)
