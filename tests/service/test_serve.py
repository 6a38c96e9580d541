"""The service as it is deployed: Ray, Serve, its proxy, the dispatcher as a deployment."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import ray
from httpx_sse import connect_sse
from ray._private import state as ray_state
from ray._raylet import GcsClient

from spinml.config import ServerConfig, StoreConfig
from spinml.device.key import key_file
from spinml.service.launch import RunningService, running_service
from tests.service import bundles

pytestmark = pytest.mark.ray
SECRET = "database-secret-4711"


@pytest.fixture
def service(
    config: ServerConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningService]:
    monkeypatch.setenv("SPINML_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    secret = tmp_path / "database-url"
    secret.write_text(f"sqlite:///{tmp_path}/{SECRET}.db")
    store = StoreConfig(artifacts=config.store.artifacts, database_file=secret)
    config = config.model_copy(update={"store": store})
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
        _check_what_ray_keeps(service)
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


def _check_what_ray_keeps(service: RunningService) -> None:
    """Deployments with their arguments, runtime environments, actors: all that dashboards show."""
    gcs = GcsClient(address=ray.get_runtime_context().gcs_address)
    kept = {}
    for namespace in (None, b"serve", b"session", b"job", b"fun", b"tracing", b"dashboard"):
        for key in gcs.internal_kv_keys(b"", namespace):
            kept[key] = gcs.internal_kv_get(key, namespace) or b""
    assert any(b"ServerConfig" in value for value in kept.values())  # it looks where they lie
    actors = repr(ray_state.actors()) + repr(gcs.get_all_job_info())
    assert "ServeReplica:spinml:ingress" in actors
    assert "SPINML" not in ray.get_runtime_context().get_runtime_env_string()
    for secret in (SECRET, service.key, service.key.split("_", 2)[2]):
        assert secret not in actors
        for key, value in kept.items():
            assert secret.encode() not in key + value, key


def _print_latency(client: httpx.Client, path: str) -> None:
    for route in ("/healthz", path):
        seconds = []
        for _ in range(100):
            began = time.perf_counter()
            client.get(route).raise_for_status()
            seconds.append(time.perf_counter() - began)
        kind = "no-op" if route == "/healthz" else "run status with key"
        print(f"{kind} through Serve: median {statistics.median(seconds) * 1000:.1f} ms")  # noqa: T201
