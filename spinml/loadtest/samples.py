"""How long requests took, by kind; taken where they leave the device, so that it is as it is."""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import httpx
import numpy as np

_RUN = re.compile(r"/v1/runs/[0-9a-f-]{36}")
_KINDS = {
    ("POST", "/v1/runs"): "submit",
    ("GET", "/v1/runs"): "list",
    ("GET", "/v1/runs/{id}"): "status",
    ("GET", "/v1/runs/{id}/events"): "events",
}


@dataclass(frozen=True)
class Latency:
    """Of ``count`` requests; in milliseconds."""

    count: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class SentAway:
    """Answers 429 and 503."""

    by_code: Mapping[str, int]
    """The error's code, or ``serve`` where Serve's proxy answered → how often."""
    without_retry_after: int

    @property
    def count(self) -> int:
        return sum(self.by_code.values())


class Samples:
    """What many devices' requests took; any thread may add."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, list[float]] = defaultdict(list)
        self._sent_away: Counter[str] = Counter()
        self._untold = 0

    def took(self, kind: str, seconds: float) -> None:
        with self._lock:
            self._seconds[kind].append(seconds)

    def was_sent_away(self, response: httpx.Response) -> None:
        """Count an answer 429 or 503."""
        code = _code(response)
        with self._lock:
            self._sent_away[code] += 1
            self._untold += "Retry-After" not in response.headers

    @property
    def sent_away(self) -> SentAway:
        with self._lock:
            return SentAway(dict(self._sent_away), self._untold)

    def latencies(self) -> Mapping[str, Latency]:
        """Kind → its latency, of the kinds that there were."""
        with self._lock:
            taken = {kind: list(seconds) for kind, seconds in self._seconds.items()}
        return {kind: latency(seconds) for kind, seconds in sorted(taken.items())}


def latency(seconds: list[float]) -> Latency:
    """The percentiles of at least one request."""
    p50, p99 = np.percentile(np.array(seconds) * 1000, [50, 99])
    return Latency(len(seconds), float(p50), float(p99))


class RecordingTransport(httpx.BaseTransport):
    """The network, and what each answer took: to its end, of events to their beginning.

    A long poll waits because it was asked to, and is no latency.
    """

    def __init__(self, samples: Samples, verify: ssl.SSLContext) -> None:
        """Args: verify: shared by all devices, for it takes long to make."""
        self._samples = samples
        self._network = httpx.HTTPTransport(verify=verify)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        kind = _kind(request)
        began = time.perf_counter()
        response = self._network.handle_request(request)
        if response.status_code in (429, 503):
            response.read()
            self._samples.was_sent_away(response)
        elif kind is not None:
            if kind != "events":
                response.read()
            self._samples.took(kind, time.perf_counter() - began)
        return response

    def close(self) -> None:
        self._network.close()


def _code(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return "serve"


def _kind(request: httpx.Request) -> str | None:
    if float(request.url.params.get("wait", "0")) > 0:
        return None
    path = _RUN.sub("/v1/runs/{id}", request.url.path)
    kind = _KINDS.get((request.method, path))
    return "unchanged" if kind == "status" and "If-None-Match" in request.headers else kind
