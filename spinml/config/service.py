"""The HTTP endpoint: its replicas, limits, rates and retention."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from spinml.bundle import BundleLimits
from spinml.config.part import Part
from spinml.secret_source import read_secret


class RetentionConfig(Part):
    """How long things are kept (spinml.service.retention)."""

    bundles: Literal["after_finetuning", "with_run"] = "after_finetuning"
    """Until when what was sent is kept: as soon as fine-tuning is done it goes, or with the run."""
    days: float | None = Field(default=30, gt=0)
    """After so many days a run that ended is deleted; None: it is kept until its owner does."""


class RateConfig(Part):
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


class LoadConfig(Part):
    """How much an ingress replica takes at once (spinml.service.admission), and when Serve starts
    another. What is over it is answered 503 with Retry-After."""

    max_requests: int = Field(default=200, ge=1)
    """At work at once; 40 threads carry them out, the others wait."""
    max_uploads_per_tenant: int = Field(default=20, ge=1)
    """Bodies that arrive at once, as slowly as they may: else one key could take every place."""
    max_listeners: int = Field(default=1000, ge=1)
    """Event streams and long polls held open: they wait without a thread."""
    max_listeners_per_tenant: int = Field(default=500, ge=1)
    max_queued_requests: int = Field(default=200, ge=1)
    """That wait in a proxy while every replica is full."""
    target_ongoing_requests: float = Field(default=100, gt=0)
    """Serve adds and ends replicas so that each has as many; a listener counts like a request."""
    upscale_delay_s: float = Field(default=10, ge=0)
    downscale_delay_s: float = Field(default=300, ge=0)


class ServiceConfig(Part):
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
