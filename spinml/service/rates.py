"""How many requests a key may make a minute, counted by the library ``limits``.

What is guaranteed depends on where is counted (``service.rates.counters``):

``replica``
    each ingress replica counts for itself, in memory: with n replicas a key gets between one and n
    times its rate, and a replica that starts anew has forgotten.
``redis``
    all replicas count in one Redis: no key gets more than its rate in any 60 seconds, whichever
    replicas it reaches. While Redis cannot be reached nobody is let through (503).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from limits import RateLimitItemPerMinute
from limits.errors import ConfigurationError, StorageError
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import MovingWindowRateLimiter

from spinml.config import RateConfig
from spinml.errors import ConfigError, RateLimitedError, RateStoreUnavailableError

REQUESTS, SUBMISSIONS = "requests", "submissions"
WINDOW_S = 60
_REDIS_TIMEOUT_S = 2


@dataclass(frozen=True)
class Standing:
    """How a key stands with one rate."""

    rate: str
    most: int
    left: int
    renews_s: int
    """Seconds until the oldest request counted no longer is."""

    @property
    def policy(self) -> str:
        return f'"{self.rate}";q={self.most};w={WINDOW_S}'

    @property
    def state(self) -> str:
        return f'"{self.rate}";r={self.left};t={self.renews_s}'


class RateLimiter:
    """Counts each key's requests over a moving minute."""

    def __init__(self, storage: Storage, most: Mapping[str, int | None]) -> None:
        """Args: most: requests a minute by rate; None is no limit."""
        self._moving = MovingWindowRateLimiter(storage)
        self._rates = {
            rate: RateLimitItemPerMinute(number, namespace=f"spinml-{rate}")
            for rate, number in most.items()
            if number is not None
        }

    @classmethod
    def from_config(cls, config: RateConfig) -> RateLimiter:
        """Counters as configured.

        Raises:
            ConfigError: the URL cannot be read, or is none of Redis.
            RateStoreUnavailableError: no Redis answers there.
        """
        limiter = cls(
            MemoryStorage() if config.counters == "replica" else _redis(config.redis_url()),
            {REQUESTS: config.requests_per_minute, SUBMISSIONS: config.submissions_per_minute},
        )
        if not limiter._moving.storage.check():
            raise _unavailable()
        return limiter

    def count(self, key_id: str, rates: Iterable[str]) -> list[Standing]:
        """Count one request of a key, and tell how it stands.

        Raises:
            RateLimitedError: one request too many; details.retry_after_s says when it may be
                repeated. It was not counted.
            RateStoreUnavailableError: the counters cannot be reached.
        """
        try:
            return [self._count(key_id, rate) for rate in rates if rate in self._rates]
        except StorageError:
            raise _unavailable() from None

    def _count(self, key_id: str, rate: str) -> Standing:
        item = self._rates[rate]
        allowed = self._moving.hit(item, key_id)
        renews_at, left = self._moving.get_window_stats(item, key_id)
        renews_s = max(1, math.ceil(renews_at - time.time()))
        standing = Standing(rate, item.amount, left if allowed else 0, renews_s)
        if not allowed:
            raise RateLimitedError(
                f"more than {item.amount} {rate} a minute with this key",
                remedy=f"send it again in {renews_s} seconds",
                details={"rate": rate, "allowed": item.amount, "retry_after_s": renews_s},
            )
        return standing


def headers_of(standings: Iterable[Standing]) -> dict[str, str]:
    """``RateLimit`` and ``RateLimit-Policy`` (draft-ietf-httpapi-ratelimit-headers)."""
    known = list(standings)
    if not known:
        return {}
    return {
        "RateLimit-Policy": ", ".join(standing.policy for standing in known),
        "RateLimit": ", ".join(standing.state for standing in known),
    }


def _redis(url: str) -> Storage:
    if not url.startswith(("redis://", "rediss://")):
        raise ConfigError(
            "the URL of service.rates is not one of Redis",
            remedy="give redis://:PASSWORD@HOST:PORT/0, or rediss:// with TLS",
        )
    try:
        storage = storage_from_string(
            url,
            wrap_exceptions=True,
            socket_timeout=_REDIS_TIMEOUT_S,
            socket_connect_timeout=_REDIS_TIMEOUT_S,
        )
    except (ConfigurationError, ValueError):
        raise ConfigError("the URL of service.rates cannot be read") from None
    if not isinstance(storage, Storage):
        raise ConfigError("the URL of service.rates is for asynchronous use")
    return storage


def _unavailable() -> RateStoreUnavailableError:
    return RateStoreUnavailableError(
        "the Redis that counts requests cannot be used",
        remedy="try again later; the operator finds it by service.rates",
    )
