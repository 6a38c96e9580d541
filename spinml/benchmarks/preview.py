"""What a device does with a photo before anything is sent."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from PIL import Image
from threadpoolctl import threadpool_limits

from spinml.benchmarks.bench import Bench, Row
from spinml.demo import home_request
from spinml.device.photos import load_photos
from spinml.device.preview import write_preview
from spinml.home.photos import shipped_home
from spinml.privacy.leakage import measure_leakage
from spinml.privacy.sanitizer import sanitize


def benchmark_preview(bench: Bench) -> list[Row]:
    """Seconds a photo of 640 px from file to preview, on one core."""
    bench.tell("preview: a device's, on one core")
    with tempfile.TemporaryDirectory(prefix="spinml-benchmark-") as name, one_core():
        photos = _enlarged(shipped_home("pet").references(), Path(name), 640)
        request = home_request(target="L2", background="L2", seed=0)
        seconds = []
        for _ in range(bench.repeats + 1):
            began = time.monotonic()
            sanitized = sanitize(request, load_photos(request, photos).photos)
            write_preview(sanitized, measure_leakage(sanitized), Path(name) / "preview")
            seconds.append((time.monotonic() - began) / len(photos))
    value = median(seconds[1:])
    return [Row("Device preview, 640 px, one core", value, "s/photo", "≤ 0.5", value <= 0.5)]


@contextmanager
def one_core() -> Iterator[None]:
    """Hold this process and the threads that it starts meanwhile on one core.

    BLAS computes with one thread meanwhile: two that wait for each other on one core take minutes.
    """
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        with threadpool_limits(1):
            yield
    finally:
        os.sched_setaffinity(0, cores)


def _enlarged(photos: Sequence[Path], folder: Path, side_px: int) -> list[Path]:
    paths = []
    for number, photo in enumerate(photos):
        path = folder / f"photo_{number}.jpg"
        Image.open(photo).resize((side_px, side_px), Image.Resampling.BICUBIC).save(path)
        paths.append(path)
    return paths
