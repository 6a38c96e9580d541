"""``spinml demo``: the main job, end to end, on the photos of the simulated home.

It starts Ray and the service on this machine and plays the device through the same HTTP endpoint
and the same classes that a real device uses.
"""

from __future__ import annotations

import json
import tarfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from spinml.config import ServerConfig, load_config
from spinml.device.client import Client
from spinml.device.described import DescribedFigure, described
from spinml.device.key import api_key
from spinml.device.ledger import Ledger
from spinml.device.measures import measure_segments
from spinml.device.photos import Loaded, load_photos
from spinml.device.predictor import Predictor
from spinml.device.preview import write_preview
from spinml.device.submit import submit_recorded
from spinml.device.watch import watch
from spinml.errors import error_from_dict
from spinml.home.photos import PhotoSet, shipped_home
from spinml.privacy.leakage import Leakage, measure_leakage
from spinml.privacy.private import SegmentedPhoto
from spinml.privacy.sanitizer import Sanitized, sanitize
from spinml.report.home import build_home_report
from spinml.report.html import render_home_report
from spinml.report.model import RunReport
from spinml.request import Task, TrainingRequest, parse_request
from spinml.service.launch import running_service

DISTRACTORS = 100
"""At most so many; the photos are taken evenly over the classes."""


@dataclass(frozen=True)
class DemoSettings:
    """What the command line says; None takes the configuration's value."""

    out: Path
    config: Path | None = None
    target: str = "L2"
    background: str = "L0"
    images_per_class: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class DemoResult:
    """Figures and paths that the demo ends with."""

    run: str
    seconds: float
    evaluation: dict[str, Any]
    mi: dict[str, Any]
    measures: dict[str, dict[str, Any]]
    """By segment, as :class:`spinml.device.measures.SegmentMeasures`."""
    beyond: tuple[DescribedFigure, ...]
    paths: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def home_request(
    *,
    target: str,
    background: str,
    seed: int,
    images_per_class: int | None = None,
    home: PhotoSet | None = None,
) -> TrainingRequest:
    """The task of a home (Table 2) with a preference; that of the shipped one is the pet's.

    Raises:
        InvalidRequestError: no such scheme, or a number out of range.
    """
    home = home or shipped_home("pet")
    record = home.record
    asked: dict[str, Any]
    if home.detection:
        asked = {
            "task": Task.DETECTION,
            "training_objective": f"A model that finds my {record.target_object}",
        }
    else:
        asked = {
            "training_objective": f"A model that tells what my {record.target_object} is doing",
            "label_classes": record.label_classes,
        }
    return parse_request(
        asked
        | {
            "target_object": record.target_object,
            "background": record.background,
            "privacy": {"target": target, "background": background},
            "seed": seed,
            "images_per_class": images_per_class,
            "image_px": home.image_px,
        }
    )


def home_references(request: TrainingRequest, home: PhotoSet | None = None) -> Loaded:
    """The home's reference photos on which the bundled segmenter finds the target object.

    Raises:
        NoTargetFoundError: it is on none of them.
    """
    return load_photos(request, (home or shipped_home("pet")).references())


def home_distractors(
    request: TrainingRequest, home: PhotoSet | None = None
) -> Sequence[SegmentedPhoto]:
    """Further photos of the home for the re-identification attack: with the ten references they
    make a gallery of about 100.
    """
    photos = (home or shipped_home("pet")).test_photos()
    return load_photos(request, photos[:: -(-len(photos) // DISTRACTORS)]).photos


def run_demo(settings: DemoSettings, console: Console) -> DemoResult:
    """Preview, submit, watch, fetch, evaluate and report; everything lands in ``settings.out``.

    Raises:
        SpinMLError: whatever failed, on either side.
    """
    started = time.monotonic()
    settings.out.mkdir(parents=True, exist_ok=True)
    config = _demo_config(settings)
    request = home_request(
        target=settings.target,
        background=settings.background,
        seed=settings.seed,
        images_per_class=settings.images_per_class,
    )
    photos = home_references(request).photos
    sanitized = sanitize(request, photos)
    leakage = measure_leakage(sanitized)
    write_preview(sanitized, leakage, settings.out / "preview")
    console.print(f"[bold]1[/] On the device: {len(photos)} photos sanitized as {request.privacy}")
    console.print("[bold]2[/] Starting Ray and the service on this machine …")
    with ExitStack() as stack:
        key_path = settings.out / "server" / "api_key"
        service = stack.enter_context(running_service(config, key_path=key_path))
        client = stack.enter_context(Client(service.url, api_key(key_path)))
        run = submit_recorded(
            client, sanitized, leakage, ledger=Ledger(settings.out / "ledger.jsonl")
        ).id
        console.print(f"[bold]3[/] Submitted to {service.url}: run {run}")
        final = watch(client, run, console)
        if final.error is not None:
            raise error_from_dict(final.error)
        _fetch(client, run, settings.out)
    console.print("[bold]4[/] Back on the device: measuring on private photos")
    result = _measure(settings.out, run, photos, sanitized, leakage, started)
    (settings.out / "result.json").write_text(json.dumps(result.as_dict(), indent=2))
    _print(result, request, console)
    return result


def _demo_config(settings: DemoSettings) -> ServerConfig:
    """The configuration with store and database inside the demo's folder, on a free port."""
    config = load_config(settings.config or _laptop_config())
    state = (settings.out / "server").resolve()
    state.mkdir(parents=True, exist_ok=True)
    changes = {
        "store": {
            "artifacts": f"file://{state / 'artifacts'}",
            "database": f"sqlite:///{state / 'spinml.db'}",
        },
        "service": config.service.model_dump() | {"port": 0},
    }
    return ServerConfig.model_validate(config.model_dump() | {"preset": None} | changes)


def _laptop_config() -> Path | None:
    """cluster/laptop.yaml of a checkout; an installed package has the defaults."""
    path = Path(__file__).parents[1] / "cluster" / "laptop.yaml"
    return path if path.is_file() else None


def _fetch(client: Client, run: str, out: Path) -> None:
    for result, name in (
        ("model", "model.onnx"),
        ("embeddings", "embeddings.npz"),
        ("report", "run.json"),
        ("dataset", "dataset.tar"),
    ):
        client.fetch(run, result, out / name)
    with tarfile.open(out / "dataset.tar") as archive:
        archive.extractall(out / "dataset", filter="data")
    (out / "dataset.tar").unlink()


def _measure(
    out: Path,
    run: str,
    photos: Sequence[SegmentedPhoto],
    sanitized: Sanitized,
    leakage: Leakage,
    started: float,
) -> DemoResult:
    """Everything that only the device may know, and the report of it."""
    evaluation = Predictor(out / "model.onnx").evaluate(shipped_home("pet").folder / "test")
    measures = measure_segments(
        sanitized,
        photos,
        out / "embeddings.npz",
        distractors=home_distractors(sanitized.bundle.request),
    )
    report = RunReport.model_validate_json((out / "run.json").read_bytes())
    home = build_home_report(photos, sanitized, leakage, measures, evaluation)
    (out / "report.html").write_text(render_home_report(report, home), encoding="utf-8")
    names = {"model": "model.onnx", "report": "report.html", "dataset": "dataset",
             "preview": "preview.html"}  # fmt: skip
    return DemoResult(
        run=run,
        seconds=time.monotonic() - started,
        evaluation=evaluation.as_dict(),
        mi={name: asdict(mi) for name, mi in leakage.segments.items()},
        measures={name: asdict(item) for name, item in measures.items()},
        beyond=described(measures),
        paths={key: str(out / name) for key, name in names.items()},
    )


def _print(result: DemoResult, request: TrainingRequest, console: Console) -> None:
    evaluation = result.evaluation
    low, high = evaluation["interval_95"]
    console.print(
        f"\n[bold green]{100 * evaluation['accuracy']:.1f} %[/] of {evaluation['photos']} private "
        f"test photos right (95 %: {100 * low:.1f}–{100 * high:.1f}; chance "
        f"{100 / len(request.label_classes):.0f} %), in {result.seconds / 60:.1f} min"
    )
    table = Table("segment", "scheme", "MI histogram", "MI regional", "SIM")
    for name, mi in result.mi.items():
        table.add_row(
            name,
            " and ".join(request.disclosed(name)),
            f"{100 * mi['histogram']:.2f} %",
            f"{100 * mi['regional']:.2f} %",
            f"{result.measures[name]['sim']:.3f}",
        )
    console.print(table)
    beyond = Table("beyond averages", *result.measures)
    for figure in result.beyond:
        beyond.add_row(figure.name, *figure.segments.values())
    console.print(beyond)
    for name, path in result.paths.items():
        console.print(f"{name:>8}  {path}", highlight=False, soft_wrap=True)
