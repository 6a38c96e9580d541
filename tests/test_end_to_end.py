"""The main job through a real Ray cluster and a real Serve endpoint, on the tiny checkpoint."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from spinml.config import ServerConfig
from spinml.device.client import Client
from spinml.device.ledger import Ledger
from spinml.device.predictor import Predictor
from spinml.device.submit import submit_recorded
from spinml.errors import NotFoundError, NotReadyError, PreferenceViolationError
from spinml.privacy.leakage import measure_leakage
from spinml.privacy.private import PrivatePhoto, SegmentedPhoto
from spinml.privacy.sanitizer import sanitize
from spinml.report.model import RunReport
from spinml.service.launch import RunningService, running_service
from tests.photos import cat, ellipse, request_of
from tests.synthesis.tiny import make_tiny_checkpoint, tiny_config

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ServerConfig:
    """The tiny checkpoint, with store and database in a folder of their own."""
    folder = tmp_path_factory.mktemp("server")
    tiny = tiny_config(make_tiny_checkpoint(folder / "checkpoint"))
    places = {
        "store": {
            "artifacts": f"file://{folder / 'artifacts'}",
            "database": f"sqlite:///{folder / 'spinml.db'}",
        },
        "service": {"port": 0},
    }
    return ServerConfig.model_validate(tiny.model_dump() | places)


@pytest.fixture(scope="module")
def service(
    config: ServerConfig, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPINML_HOME", str(tmp_path_factory.mktemp("home")))
        with running_service(config, num_cpus=2) as running:
            yield running


@pytest.fixture
def client(service: RunningService) -> Iterator[Client]:
    assert service.key is not None
    with Client(service.url, service.key) as connected:
        yield connected


def photos() -> list[SegmentedPhoto]:
    flipped = np.ascontiguousarray(cat()[:, ::-1])
    return [
        SegmentedPhoto(PrivatePhoto(photo), {"target": ellipse()}) for photo in (cat(), flipped)
    ]


def follow(client: Client, run: str) -> dict[str, str]:
    """State of every stage by label, after the run's last event."""
    last = {}
    for event in client.events(run):
        if event.stage is not None:
            last[event.stage.label] = event.stage.state
    status = client.status(run)
    assert status.state == "succeeded", status.error
    return {stage.label: stage.state for stage in status.stages} | last


@pytest.fixture(scope="module")
def first_run(service: RunningService, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run at (L2, L1): fine-tuning twice, expand, merge, everything."""
    sanitized = sanitize(request_of("L2", "L1"), photos())
    ledger = Ledger(tmp_path_factory.mktemp("ledger") / "ledger.jsonl")
    assert service.key is not None
    with Client(service.url, service.key) as client:
        run = submit_recorded(client, sanitized, measure_leakage(sanitized), ledger=ledger).id
        states = follow(client, run)
    assert set(states.values()) == {"done"}
    assert {"fine-tune target", "fine-tune background", "merge background"} <= set(states)
    assert [entry.state for entry in ledger.entries()] == ["sending", "accepted"]
    return run


def test_results_come_back_and_work(client: Client, first_run: str, tmp_path: Path) -> None:
    model = client.fetch(first_run, "model", tmp_path / "model.onnx")
    assert model.verified
    predictor = Predictor(model.path)
    assert predictor.classes == ("eating", "sleeping")
    (prediction,) = predictor.predict([cat()])
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-3)

    embeddings = client.fetch(first_run, "embeddings", tmp_path / "embeddings.npz")
    with np.load(embeddings.path, allow_pickle=False) as arrays:
        assert arrays["target"].shape == arrays["background"].shape
        assert len(arrays["target"]) == 8

    client.fetch(first_run, "dataset", tmp_path / "dataset.tar")
    with tarfile.open(tmp_path / "dataset.tar") as archive:
        archive.extractall(tmp_path / "dataset", filter="data")
    tables = [pq.read_table(path) for path in sorted((tmp_path / "dataset").rglob("*.parquet"))]
    labels = [name for table in tables for name in table["label_name"].to_pylist()]
    assert sorted(labels) == ["eating"] * 4 + ["sleeping"] * 4


def test_report_as_json_and_as_page(client: Client, first_run: str, tmp_path: Path) -> None:
    path = client.fetch(first_run, "report", tmp_path / "report.json").path
    report = RunReport.model_validate_json(path.read_bytes())
    assert report.images == 8
    assert len(report.history) == 2
    assert set(report.samples) == {"eating", "sleeping"}
    assert report.references["background"]  # expanded from edges; the target's went, as sent
    page = client.fetch(first_run, "report", tmp_path / "report.html").path.read_text()
    assert page.startswith("<!doctype html>")
    assert "Where the time went" in page


def test_identical_run_reuses_every_artifact(client: Client, first_run: str) -> None:
    bundle = sanitize(request_of("L2", "L1"), photos()).bundle
    again = client.submit(bundle, idempotency_key="another-run-of-the-same")
    assert again.id != first_run
    assert set(follow(client, again.id).values()) == {"reused"}


def test_forged_bundle_is_refused(client: Client, service: RunningService) -> None:
    sanitized = sanitize(request_of("L2", "L0"), photos()).bundle
    manifest = json.loads(sanitized.manifest())
    manifest["request"]["privacy"]["target"] = "L0"
    parts = sanitized.to_parts() | {"manifest": json.dumps(manifest).encode()}
    files = {name: (name, content) for name, content in parts.items()}
    with pytest.raises(PreferenceViolationError):
        client._request("POST", "/v1/runs", files=files, headers={"Idempotency-Key": "forged"})


def test_another_preference_shares_what_it_can_and_takes_nothing_with_it(
    client: Client, first_run: str, tmp_path: Path
) -> None:
    run = client.submit(sanitize(request_of("L2", "L0"), photos()).bundle).id
    with pytest.raises(NotReadyError):
        client.fetch(run, "model", tmp_path / "model.onnx")
    states = follow(client, run)
    assert states["fine-tune target"] == "reused"
    assert states["generate"] == "done"
    assert "merge background" not in states

    client.delete(run)
    with pytest.raises(NotFoundError):
        client.status(run)
    assert client.fetch(first_run, "model", tmp_path / "model.onnx").verified
    again = client.submit(
        sanitize(request_of("L2", "L1"), photos()).bundle, idempotency_key="after-the-deletion"
    )
    assert set(follow(client, again.id).values()) == {"reused"}
