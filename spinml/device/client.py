"""The device's side of the HTTP API: submit a bundle, follow its run, fetch what came of it."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import httpx_sse

from spinml.bundle import SanitizedBundle
from spinml.device.files import writing
from spinml.device.patience import Patience
from spinml.device.runs import RunEvent, RunPage, RunStatus
from spinml.device.wire import encode_multipart, mapped_errors, raise_for_error, told, unavailable
from spinml.errors import AuthenticationError, ServerUnavailableError, ServiceError

RESULTS: Mapping[str, str] = {
    "model": "model.onnx",
    "dataset": "dataset.tar",
    "embeddings": "embeddings.npz",
    "report": "report.html",
}
"""What can be fetched of a run, and the file name it is given."""

_HASHED = frozenset({"model", "embeddings"})
"""Results whose ETag is their SHA-256; a dataset's names the artifact, a report is made anew."""

_RUNS_A_PAGE = 200
LONG_POLL_S = 25.0
"""Shorter than what proxies commonly take for a dead connection."""
_LEAST_POLL_S = 1.0
_TIMEOUT = httpx.Timeout(30.0, read=120.0)


@dataclass(frozen=True)
class Fetched:
    """A result that was downloaded whole."""

    path: Path
    bytes: int
    sha256: str
    verified: bool
    """Whether it was compared with a SHA-256 that the server declares (model, embeddings)."""


class Client:
    """Talks to one server as one tenant. Use as a context manager.

    Args:
        server: base URL, such as ``http://127.0.0.1:8000``.
        key: the tenant's API key; sent as bearer token, never printed.
        transport: replaces the network in tests.
        attempts: how often a request that may be repeated is tried in all.
        pause_s: the first wait between attempts; doubled each time.

    Raises:
        ServiceError: ``server`` is no address.
        AuthenticationError: ``key`` can be no key.
    """

    def __init__(
        self,
        server: str,
        key: str,
        *,
        transport: httpx.BaseTransport | None = None,
        attempts: int = 5,
        pause_s: float = 0.5,
    ):
        self.server = server.rstrip("/")
        self._patience = Patience(attempts, pause_s)
        if not key.isascii():
            raise AuthenticationError(
                "the API key has characters other than ASCII", remedy="copy it once more, whole"
            )
        with mapped_errors():
            self._http = httpx.Client(
                base_url=self.server,
                headers={"Authorization": f"Bearer {key}"},
                timeout=_TIMEOUT,
                transport=transport,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(self, bundle: SanitizedBundle, *, idempotency_key: str | None = None) -> RunStatus:
        """Send ``bundle``; the run it began.

        The same bundle under the same key begins one run however often it is sent, so that it can
        be sent again after a connection broke. The key is the bundle's digest where none is given.
        """
        body, content_type = encode_multipart(bundle)
        headers = {
            "Content-Type": content_type,
            "Idempotency-Key": idempotency_key or bundle.digest,
        }
        response = self._request("POST", "/v1/runs", content=body, headers=headers)
        return told(RunStatus, response.content)

    def status(self, run: str) -> RunStatus:
        """How the run is."""
        return _status(self._request("GET", f"/v1/runs/{run}"))

    def poll(self, known: RunStatus, wait_s: float = LONG_POLL_S) -> RunStatus:
        """How the run is as soon as it has changed since ``known``; ``known`` if it did not.

        Args:
            wait_s: how long the server shall wait for a change, at most 30 s; 0: it answers now.
        """
        headers = {"If-None-Match": known.etag} if known.etag else {}
        url = f"/v1/runs/{known.id}"
        response = self._request("GET", url, headers=headers, params={"wait": wait_s})
        return known if response.status_code == httpx.codes.NOT_MODIFIED else _status(response)

    def wait(self, run: str) -> RunStatus:
        """How the run ended, once it has: by long polls, for where events do not get through."""
        status = self.status(run)
        while not status.is_final:
            began = time.monotonic()
            status, before = self.poll(status), status
            if status is before:  # a server that does not wait is not asked without a pause
                time.sleep(max(0.0, _LEAST_POLL_S - (time.monotonic() - began)))
        return status

    def runs(self, key_prefix: str) -> Iterator[RunStatus]:
        """The tenant's runs whose idempotency keys begin so, newest first."""
        asked: dict[str, Any] = {"key_prefix": key_prefix, "limit": _RUNS_A_PAGE}
        while True:
            page = told(RunPage, self._request("GET", "/v1/runs", params=asked).content)
            yield from page.runs
            if page.next is None:
                return
            asked["after"] = page.next

    def cancel(self, run: str) -> None:
        """Ask for the run to stop; it ends at its next step."""
        self._request("POST", f"/v1/runs/{run}/cancel")

    def delete(self, run: str) -> None:
        """Erase the run and every artifact of it."""
        self._request("DELETE", f"/v1/runs/{run}")

    def events(self, run: str) -> Iterator[RunEvent]:
        """The run's events from the beginning to its final state, across broken connections.

        Raises:
            ServerUnavailableError: as often as ``attempts`` in a row, no new event came.
        """
        last_id = ""
        retrying = self._patience.retrying()
        while True:
            # Each event that comes makes the patience whole again.
            for attempt in retrying.copy():
                with attempt:
                    stream = self._event_stream(run, last_id)
                    event = next(stream, None)
                    if event is None:
                        raise unavailable("the server ended the events before the run ended")
            try:
                while event is not None:
                    last_id = event.id or last_id
                    yield event
                    if event.is_final:
                        return
                    event = next(stream, None)
            except ServerUnavailableError:
                continue

    def fetch(self, run: str, result: str, path: Path) -> Fetched:
        """Download ``result`` (a key of RESULTS) to ``path``, which appears when it is whole.

        Raises:
            NotReadyError: the run has not got so far.
            ServerUnavailableError: the connection broke; nothing is left at ``path``.
            ServiceError: what came is not what the server declared; nothing is left.
            DeviceError: it cannot be written.
        """
        partial = path.with_name(f".{path.name}.{os.getpid()}.part")
        accept = {"Accept": "text/html"} if path.suffix == ".html" else {}
        with writing(f"the {result}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                fetched = self._patience.retrying()(
                    lambda: self._download(run, result, partial, accept)
                )
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
        return Fetched(path, fetched.bytes, fetched.sha256, fetched.verified)

    def _download(self, run: str, result: str, path: Path, headers: Mapping[str, str]) -> Fetched:
        digest, size = hashlib.sha256(), 0
        url = f"/v1/runs/{run}/{result}"
        with mapped_errors(), self._http.stream("GET", url, headers=headers) as response:
            raise_for_error(response)
            with path.open("wb") as file:
                for chunk in response.iter_bytes():
                    file.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
        declared = response.headers.get("ETag", "none").strip('"')
        if result in _HASHED and declared != digest.hexdigest():
            raise ServiceError(
                f"the {result} that came has SHA-256 {digest.hexdigest()[:12]}…, "
                f"the server declared {declared[:12]}…",
                remedy="fetch it again",
            )
        return Fetched(path, size, digest.hexdigest(), result in _HASHED)

    def _event_stream(self, run: str, last_id: str) -> Iterator[RunEvent]:
        headers = {"Last-Event-ID": last_id} if last_id else {}
        url = f"/v1/runs/{run}/events"
        with (
            mapped_errors(),
            httpx_sse.connect_sse(self._http, "GET", url, headers=headers) as source,
        ):
            raise_for_error(source.response)
            for item in source.iter_sse():
                if item.data:  # else a comment that keeps the connection alive
                    yield told(RunEvent, item.data.encode(), id=item.id)

    def _request(self, method: str, url: str, **options: Any) -> httpx.Response:
        def once() -> httpx.Response:
            with mapped_errors():
                response = self._http.request(method, url, **options)
            raise_for_error(response)
            return response

        return self._patience.retrying()(once)


def _status(response: httpx.Response) -> RunStatus:
    return told(RunStatus, response.content, etag=response.headers.get("ETag", ""))
