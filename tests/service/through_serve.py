"""The service as it is deployed: Ray, Serve, its proxy, the dispatcher as a deployment.

Run by ``test_serve.py`` in a process of its own, which has Ray's metrics.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import ray
from httpx_sse import connect_sse
from prometheus_client.parser import text_string_to_metric_families
from ray._private import state as ray_state
from ray._raylet import GcsClient

from spinml.config import LogConfig, ServerConfig, StoreConfig
from spinml.device.key import key_file
from spinml.service.launch import RunningService, running_service
from spinml.service.metrics import DECLARED, exported_names
from tests.service import bundles

SECRET = "database-secret-4711"


@pytest.fixture
def service(
    config: ServerConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningService]:
    monkeypatch.setenv("SPINML_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("RAY_metrics_report_interval_ms", "1000")
    secret = tmp_path / "database-url"
    secret.write_text(f"sqlite:///{tmp_path}/{SECRET}.db")
    store = StoreConfig(artifacts=config.store.artifacts, database_file=secret)
    config = config.model_copy(update={"store": store})
    factory = "tests.service.executors:quick"
    as_json = config.model_copy(update={"logs": LogConfig(format="json")})
    with running_service(as_json, num_cpus=1, num_gpus=0, execute=factory) as service:
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
        _expect_metrics()
        _expect_logs(path.rpartition("/")[2])
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


def _expect_metrics() -> None:
    """The node's endpoint, which Prometheus scrapes, has what the run and its gauges made."""
    node = ray.nodes()[0]
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    wanted = {
        ("ray_spinml_runs", "succeeded", "default"): 1,
        ("ray_spinml_stages_total", "train", "done"): 1,
        ("ray_spinml_stage_seconds_count", "generate"): 1,
        ("ray_spinml_queue_seconds_count",): 1,
        ("ray_spinml_images_total", "default"): 8,
        ("ray_spinml_rejected_objects_total", "cut_off"): 3,
        ("ray_spinml_database_up",): 1,
        ("ray_spinml_store_up",): 1,
    }
    deadline = time.monotonic() + 40
    while True:
        found = _samples(httpx.get(url, timeout=10).text)
        lacking = {key: found.get(key) for key in wanted if found.get(key) != wanted[key]}
        if not lacking:
            break
        assert time.monotonic() < deadline, lacking
        time.sleep(0.5)
    assert found["ray_spinml_received_bytes_total", "default"] > 100
    assert found["ray_spinml_stored_bytes", "default"] > 100
    heartbeat = found[("ray_spinml_dispatcher_heartbeat_timestamp_seconds",)]
    assert abs(time.time() - heartbeat) < 60
    assert {key[0] for key in found} <= exported_names()


def _samples(text: str) -> dict[tuple[str, ...], float]:
    """(name, the values of our labels by the label's name) → value, of SpinML's samples."""
    ours = sorted({label for metric in DECLARED for label in metric.info["tag_keys"]})
    return {
        (sample.name, *(sample.labels[label] for label in ours if label in sample.labels)): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("ray_spinml_")
    }


def _expect_logs(run_id: str) -> None:
    """Serve's replicas log JSON with the run's id, and none of what its owner said."""
    folder = Path(ray.worker._global_node.get_logs_dir_path())
    text = "".join(path.read_text() for path in folder.glob("worker-*.err"))
    lines = [json.loads(line) for line in text.splitlines() if line.startswith('{"time"')]
    assert "run begun" in {line["message"] for line in lines if line.get("run") == run_id}
    for word in bundles.bundle().request.label_classes:
        assert word not in text


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
