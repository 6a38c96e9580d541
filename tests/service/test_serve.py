"""The service as it is deployed: Ray, Serve, its proxy, the dispatcher as a deployment."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from httpx_sse import connect_sse

from spinml.config import ServerConfig
from spinml.device.key import key_file
from spinml.service.launch import RunningService, running_service
from tests.service import bundles

pytestmark = pytest.mark.ray


@pytest.fixture
def service(
    config: ServerConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningService]:
    monkeypatch.setenv("SPINML_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    factory = "tests.service.executors:quick"
    with running_service(config, num_cpus=1, num_gpus=0, execute=factory) as service:
        yield service


def test_a_run_through_serve(service: RunningService) -> None:
    assert key_file().stat().st_mode & 0o777 == 0o600
    headers = {"Authorization": f"Bearer {service.key}"}
    with httpx.Client(base_url=service.url, headers=headers, timeout=30) as client:
        assert client.get("/readyz").json() == {"status": "ok"}
        assert client.get("/v1/runs", headers={"Authorization": ""}).status_code == 401
        path = _submit(client)
        with connect_sse(client, "GET", f"{path}/events") as source:
            states = [e.json()["state"] for e in source.iter_sse() if e.event == "state"]
        assert states == ["queued", "running", "succeeded"]
        assert client.get(f"{path}/model").content == b"onnx"
        assert _too_large(client).status_code == 413
        _print_latency(client, path)
        assert client.delete(path).status_code == 204
        assert client.get(path).status_code == 404


def _submit(client: httpx.Client) -> str:
    answer = client.post(
        "/v1/runs",
        headers={"Idempotency-Key": "one"},
        files=bundles.files(bundles.bundle().to_parts()),
    )
    assert answer.status_code == 201, answer.text
    return str(answer.headers["Location"])


def _too_large(client: httpx.Client) -> httpx.Response:
    return client.post(
        "/v1/runs",
        headers={"Idempotency-Key": "two", "Content-Type": "multipart/form-data; boundary=b"},
        content=bytes(1_000_000),
    )


def _print_latency(client: httpx.Client, path: str) -> None:
    for route in ("/healthz", path):
        seconds = []
        for _ in range(100):
            began = time.perf_counter()
            client.get(route).raise_for_status()
            seconds.append(time.perf_counter() - began)
        kind = "no-op" if route == "/healthz" else "run status with key"
        print(f"{kind} through Serve: median {statistics.median(seconds) * 1000:.1f} ms")  # noqa: T201
