"""ServerConfig: all that differs between a laptop and a cluster. One YAML file, checked whole."""

from __future__ import annotations

from pathlib import Path

from pydantic import model_validator

from spinml.config.cluster import (
    LogConfig,
    NodeGroup,
    ResourceConfig,
    Resources,
    StoreConfig,
)
from spinml.config.part import Part
from spinml.config.pipeline import (
    CheckpointConfig,
    CutoutConfig,
    DetectionConfig,
    DType,
    ExpandConfig,
    FinetuneConfig,
    GenerationConfig,
    MeasureConfig,
    PromptConfig,
    TrainingConfig,
)
from spinml.config.presets import PRESETS
from spinml.config.service import (
    LoadConfig,
    RateConfig,
    RetentionConfig,
    ServiceConfig,
)
from spinml.errors import ConfigError
from spinml.written import checked, read_yaml

__all__ = [
    "CheckpointConfig",
    "CutoutConfig",
    "DType",
    "DetectionConfig",
    "ExpandConfig",
    "FinetuneConfig",
    "GenerationConfig",
    "LoadConfig",
    "LogConfig",
    "MeasureConfig",
    "NodeGroup",
    "PromptConfig",
    "RateConfig",
    "ResourceConfig",
    "Resources",
    "RetentionConfig",
    "ServerConfig",
    "ServiceConfig",
    "StoreConfig",
    "TrainingConfig",
    "load_config",
]


class ServerConfig(Part):
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
    example = "cluster/laptop.yaml"
    data = read_yaml(path, "the configuration", example, ConfigError) if path else {}
    remedy = "mend every field named; README, section “Configuration”, lists them"
    return checked(ServerConfig, data or {}, "the configuration", remedy, ConfigError)
