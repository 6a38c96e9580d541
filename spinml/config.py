"""ServerConfig: all that differs between a laptop and a cluster. One YAML file, checked whole."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from spinml.bundle import BundleLimits
from spinml.errors import ConfigError
from spinml.request import describe_problems
from spinml.secret_source import read_secret, without_password

DType = Literal["auto", "float32", "bfloat16", "float16"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CheckpointConfig(_Part):
    """Where the diffusion models come from: ``home``, a local folder or a hub name, each."""

    base: str = "home"
    inpainting: str | None = None
    """None: the inpainting UNet inside ``base``'s folder."""
    controlnets: dict[str, str] = Field(default_factory=dict)
    """Feature → ControlNet; others: those inside ``base``'s folder (``controlnet_<feature>``)."""
    resolution_px: int = Field(default=128, ge=32, multiple_of=8)
    revision: str | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: DType = "auto"
    """auto: bfloat16 where the device computes in it, else float32."""


class PromptConfig(_Part):
    """Prompt templates (§3.3: every object × class)."""

    object: str = "a {token}{object} is {label}, plain background"
    object_unlabelled: str = "a {token}{object}, plain background"
    background: str = "a {token}{background}"
    negative: str = ""
    identifier_token: str = "xyz"
    """DreamBooth's rare token; stands in prompts of fine-tuned models alone."""


class ExpandConfig(_Part):
    """L1 features → reference images by ControlNet (§3.3)."""

    images_per_feature: int = Field(default=4, ge=1, le=64)
    steps: int = Field(default=20, ge=1)
    guidance_scale: float = Field(default=3.0, ge=0)
    conditioning_scale: float = Field(default=1.0, gt=0)


class FinetuneConfig(_Part):
    """DreamBooth (§3.3, B.1)."""

    method: Literal["full", "lora"] = "full"
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


class CutoutConfig(_Part):
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


class GenerationConfig(_Part):
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
    scale_range: tuple[float, float] = (0.2, 0.6)
    """The object's longer side as a share of the image's side."""
    image_px: int | None = Field(default=None, ge=32)
    """Side of the dataset's images. None: ``checkpoint.resolution_px``, at which objects and
    backgrounds are drawn. Larger: placed objects keep the detail with which they were drawn, and
    backgrounds are scaled up."""


class TrainingConfig(_Part):
    """The specialised classifier (§4.3, B.2)."""

    backbone: str = "efficientnet_lite0"
    """A key of spinml.training.backbones: efficientnet_lite0 (packaged weights), mobilenet_v2."""
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


class DetectionConfig(_Part):
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


class MeasureConfig(_Part):
    """What SIM embeds with (eq. 2)."""

    embedder: str = "home"
    """home: the bundled ONNX embedder; or a hub name / folder of CLIP, DINOv2 or BLIP-2."""
    max_embeddings: int = Field(default=400, ge=1)


class Resources(_Part):
    """What one actor of a kind holds."""

    num_cpus: float = Field(default=1, ge=0)
    num_gpus: float = Field(default=0, ge=0)
    memory_gb: float | None = Field(default=None, gt=0)


class NodeGroup(Resources):
    """Nodes of one kind in an autoscaling cluster."""

    max_nodes: int = Field(ge=1)


class ResourceConfig(_Part):
    """Resources by stage, how many generation actors, and what an autoscaler may add."""

    diffusion: Resources = Resources(num_cpus=2)
    """expand and fine-tune actors."""
    generation: Resources = Resources(num_cpus=2)
    generation_actors: int = Field(default=1, ge=1)
    training: Resources = Resources(num_cpus=2)
    light: Resources = Resources(num_cpus=1)
    """merge, export, measure."""
    node_groups: tuple[NodeGroup, ...] = ()
    """An autoscaling cluster at its largest: every group of nodes that stages may run on. Ray does
    not tell it, and at first the nodes are not there. Without it, the nodes that are there count.
    """


class StoreConfig(_Part):
    """Where artifacts, runs and events live."""

    artifacts: str = "file://~/.local/share/spinml/artifacts"
    """``file://`` folder or ``s3://bucket/prefix``; S3 credentials come from the environment."""
    s3_endpoint: str | None = None
    database: SecretStr = SecretStr("sqlite:///~/.local/share/spinml/spinml.db")
    """SQLAlchemy URL: SQLite or ``postgresql+psycopg://``, without a password."""
    database_file: Path | None = None
    """In place of ``database``: a file that holds the URL, such as a mounted secret. It is read
    where the database is opened, so that no configuration that Ray passes around holds it."""
    database_env: str | None = None
    """In place of ``database``: the environment's variable that holds the URL, read likewise."""

    @model_validator(mode="after")
    def _one_database(self) -> Self:
        named = {
            "database": "database" in self.model_fields_set,
            "database_file": self.database_file is not None,
            "database_env": self.database_env is not None,
        }
        given = [name for name, is_given in named.items() if is_given]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are both given; leave one out")
        return self

    @field_validator("database")
    @classmethod
    def _no_password(cls, url: SecretStr) -> SecretStr:
        return SecretStr(without_password(url.get_secret_value(), "database_file or database_env"))

    @field_validator("s3_endpoint")
    @classmethod
    def _no_credentials(cls, url: str | None) -> str | None:
        instead = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        return url if url is None else without_password(url, instead)

    def database_url(self) -> str:
        """The database's URL, from where it lies.

        Raises:
            ConfigError: the file or the variable cannot be read.
        """
        if self.database_file is None and self.database_env is None:
            return self.database.get_secret_value()
        return read_secret("store.database", self.database_file, self.database_env)


class RetentionConfig(_Part):
    """How long things are kept (spinml.service.retention)."""

    bundles: Literal["after_finetuning", "with_run"] = "after_finetuning"
    """Until when what was sent is kept: as soon as fine-tuning is done it goes, or with the run."""
    days: float | None = Field(default=30, gt=0)
    """After so many days a run that ended is deleted; None: it is kept until its owner does."""


class LogConfig(_Part):
    """What the service and its workers log, and how (spinml.logs)."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["text", "json"] = "text"
    """json: an object a line, with the ids of run and stage as fields."""


class RateConfig(_Part):
    """How often a key may ask (spinml.service.rates says what is guaranteed)."""

    requests_per_minute: int | None = Field(default=1200, ge=1)
    """Of one key, of every kind; None: no limit."""
    submissions_per_minute: int | None = Field(default=60, ge=1)
    """Of one key: submissions and cancellations."""
    counters: Literal["replica", "redis"] = "replica"
    redis_url_file: Path | None = None
    """A file that holds Redis' URL, such as a mounted secret."""
    redis_url_env: str | None = None
    """The environment's variable that holds it."""

    @model_validator(mode="after")
    def _one_redis(self) -> Self:
        named = [self.redis_url_file, self.redis_url_env].count(None)
        if self.counters == "redis" and named != 1:
            raise ValueError("counters: redis needs redis_url_file or redis_url_env, one of them")
        if self.counters == "replica" and named != 2:
            raise ValueError("redis_url_file and redis_url_env are for counters: redis")
        return self

    def redis_url(self) -> str:
        """Redis' URL, from where it lies.

        Raises:
            ConfigError: the file or the variable cannot be read.
        """
        return read_secret("service.rates.redis_url", self.redis_url_file, self.redis_url_env)


class LoadConfig(_Part):
    """How much an ingress replica takes at once (spinml.service.admission), and when Serve starts
    another. What is over it is answered 503 with Retry-After."""

    max_requests: int = Field(default=200, ge=1)
    """At work at once; 40 threads carry them out, the others wait."""
    max_listeners: int = Field(default=1000, ge=1)
    """Event streams and long polls held open: they wait without a thread."""
    max_listeners_per_tenant: int = Field(default=500, ge=1)
    max_queued_requests: int = Field(default=200, ge=1)
    """That wait in a proxy while every replica is full."""
    target_ongoing_requests: float = Field(default=100, gt=0)
    """Serve adds and ends replicas so that each has as many; a listener counts like a request."""
    upscale_delay_s: float = Field(default=10, ge=0)
    downscale_delay_s: float = Field(default=300, ge=0)


class ServiceConfig(_Part):
    """The HTTP endpoint."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    replicas: int = Field(default=1, ge=1)
    """Of the ingress, at least."""
    max_replicas: int = Field(default=4, ge=1)
    """At most: Serve starts and ends them by ``load``. As many as ``replicas``: it does not."""
    load: LoadConfig = LoadConfig()
    max_concurrent_runs: int = Field(default=1, ge=1)
    limits: BundleLimits = BundleLimits()
    body_timeout_s: float = Field(default=600, gt=0)
    """How long a body may take to arrive."""
    body_pause_s: float = Field(default=20, gt=0)
    """How long nothing of a body may come."""
    rates: RateConfig = RateConfig()
    retention: RetentionConfig = RetentionConfig()

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.replicas > self.max_replicas:
            raise ValueError(
                f"replicas is {self.replicas} and max_replicas {self.max_replicas}; "
                "give max_replicas, too, as many or more"
            )
        return self


class ServerConfig(_Part):
    """Everything the server side reads."""

    preset: str | None = None
    checkpoint: CheckpointConfig = CheckpointConfig()
    prompts: PromptConfig = PromptConfig()
    expand: ExpandConfig = ExpandConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    generation: GenerationConfig = GenerationConfig()
    training: TrainingConfig = TrainingConfig()
    detection: DetectionConfig = DetectionConfig()
    measure: MeasureConfig = MeasureConfig()
    resources: ResourceConfig = ResourceConfig()
    store: StoreConfig = StoreConfig()
    service: ServiceConfig = ServiceConfig()
    logs: LogConfig = LogConfig()

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, data: object) -> object:
        """A preset's values lie under those of the file."""
        if isinstance(data, dict) and data.get("preset") is not None:
            name = data["preset"]
            if name not in PRESETS:
                raise ValueError(f"no preset {name!r}; there are: {', '.join(sorted(PRESETS))}")
            return _merged(PRESETS[name], data)
        return data


SD15: dict[str, object] = {
    "checkpoint": {
        "base": "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "inpainting": "stable-diffusion-v1-5/stable-diffusion-inpainting",
        "controlnets": {
            "canny": "lllyasviel/sd-controlnet-canny",
            "depth": "lllyasviel/sd-controlnet-depth",
            "pose": "lllyasviel/sd-controlnet-openpose",
            "soft_edges": "lllyasviel/sd-controlnet-hed",
        },
        "resolution_px": 512,
    },
    "prompts": {"identifier_token": "xyz-style"},
    "finetune": {
        "learning_rate": 2e-6,
        "prior_loss_weight": 0.01,
        "gradient_accumulation": 2,
        "steps": 800,
        "batch_size": 1,
        "class_images": 200,
    },
    "generation": {"steps": 50, "guidance_scale": 7.5, "background_guidance_scale": 7.5},
    "training": {"backbone": "mobilenet_v2", "image_px": 224},
    "detection": {"weights": "yolov8n.pt", "image_px": 640},
    "resources": {
        "diffusion": {"num_cpus": 4, "num_gpus": 1},
        "generation": {"num_cpus": 4, "num_gpus": 1},
        "training": {"num_cpus": 4, "num_gpus": 1},
    },
}
"""The paper's settings (B.1, B.2) on Stable Diffusion 1.5."""

PRESETS: dict[str, dict[str, object]] = {"home": {}, "sd15": SD15}


def _merged(below: dict[str, object], above: dict[str, object]) -> dict[str, object]:
    out = dict(below)
    for key, value in above.items():
        under = out.get(key)
        if isinstance(value, dict) and isinstance(under, dict):
            out[key] = _merged(under, value)
        else:
            out[key] = value
    return out


def load_config(path: Path | None) -> ServerConfig:
    """Read and check a YAML file; None gives the defaults.

    Raises:
        ConfigError: unreadable, or not valid; all problems at once.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8")) if path else {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"the configuration cannot be read: {type(error).__name__}",
            remedy="give a YAML file such as cluster/laptop.yaml",
        ) from None
    try:
        return ServerConfig.model_validate(data or {})
    except ValidationError as error:
        problems = describe_problems(error)
        raise ConfigError(
            "the configuration is not valid: " + "; ".join(problems),
            remedy="mend every field named; README, section “Configuration”, lists them",
            details={"problems": problems},
        ) from None
