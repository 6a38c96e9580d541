"""What every part of the configuration is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """Knows its fields and no others, and does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
