"""The home that a sweep plays the device with: its photos are loaded once, and stay here."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from spinml.config import ServerConfig
from spinml.device.detection_evaluation import evaluate_detector
from spinml.device.detector import Detector
from spinml.device.measures import prompt_similarity, read_embeddings
from spinml.device.photos import load_photos
from spinml.device.predictor import Predictor
from spinml.errors import PhotoError
from spinml.home.photos import PhotoSet, shipped_home, shipped_homes
from spinml.preference import folded
from spinml.privacy.leakage import measure_leakage
from spinml.privacy.private import DeviceOnly
from spinml.privacy.sanitizer import Sanitized, private_segments, sanitize
from spinml.privacy.similarity import Embeddings, similarity
from spinml.request import Task, TrainingRequest
from spinml.sweep.results import ObjectUtility, SegmentLeakage
from spinml.sweep.spec import PhotosOfHome, ShippedPhotos

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


@dataclass(frozen=True)
class Utility:
    """How well a model does on the labelled private photos."""

    name: str
    value: float
    interval_95: tuple[float, float] | None
    """Over the photos."""
    photos: int
    objects: Mapping[str, float]
    """A detector's AP50 by target object's words."""


def photos_of(named: PhotosOfHome | ShippedPhotos | None, request: TrainingRequest) -> PhotosOfHome:
    """The folders that were named, or those of a shipped home.

    Args:
        named: None takes the shipped home of the request's first target object.

    Raises:
        PhotoError: no shipped home shows that object, a folder is none, or there is no reference.
    """
    if isinstance(named, PhotosOfHome):
        chosen = named
    else:
        chosen = _folders_of(shipped_home(named.home) if named else _shipped_for(request))
    for role, folder in chosen:
        if folder is not None and not folder.is_dir():
            raise PhotoError(
                f"photos.{role} of the sweep is no folder", remedy="give one that exists"
            )
    if not reference_files(chosen):
        raise PhotoError("photos.references of the sweep has no photo")
    return chosen


def _shipped_for(request: TrainingRequest) -> PhotoSet:
    homes = {home.record.target_object: home for home in shipped_homes().values()}
    wanted = folded(request.target_object)
    if wanted not in homes:
        raise PhotoError(
            f"no shipped home shows {request.target_object!r}: the sweep names no photos",
            remedy=f"name photos, or ask for one of: {', '.join(homes)}",
        )
    return homes[wanted]


def _folders_of(home: PhotoSet) -> PhotosOfHome:
    keypoints = home.folder / "references_keypoints"
    return PhotosOfHome(
        references=home.folder / "references",
        labelled=home.folder / "test",
        keypoints=keypoints if keypoints.is_dir() else None,
    )


def reference_files(photos: PhotosOfHome) -> list[Path]:
    """The reference photos, in order."""
    return sorted(p for p in photos.references.iterdir() if p.suffix.lower() in _SUFFIXES)


def identity_of(photos: PhotosOfHome) -> str:
    """A digest of all photos and their labels: part of what names a trial."""
    digest = hashlib.sha256()
    for role, folder in photos:
        for path in sorted(_files(folder)) if folder else ():
            with path.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
            digest.update(f"{role}/{path.relative_to(folder)}\0{content}\n".encode())
    return digest.hexdigest()


def _files(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


class PlayedHome(DeviceOnly):
    """The device's side of every trial.

    Args:
        request: says which object to look for.
        config: says what SIM embeds with.

    Raises:
        SpinMLError: see :func:`spinml.device.photos.load_photos`.
    """

    def __init__(
        self, request: TrainingRequest, photos: PhotosOfHome, config: ServerConfig
    ) -> None:
        files = reference_files(photos)
        self._config = config
        self._labelled = photos.labelled
        self._photos = load_photos(
            request,
            files,
            masks=[photos.masks / f"{f.stem}.png" for f in files] if photos.masks else [],
            keypoints=(
                [photos.keypoints / f"{f.stem}.json" for f in files] if photos.keypoints else []
            ),
        ).photos
        self._request = request

    def sanitize(self, request: TrainingRequest) -> Sanitized:
        """What would leave the device for ``request``."""
        return sanitize(request, self._photos)

    @cached_property
    def _own(self) -> dict[str, Embeddings]:
        """Embeddings of the private segments by the run's own embedder, for every trial alike."""
        from spinml.training.embedders import load_embedder  # torch: not for the driver

        embed = load_embedder(self._config).images
        segments = private_segments(self._request, self._photos)
        return {name: embed(images) for name, images in segments.items() if images}

    def leakage(self, sanitized: Sanitized, embeddings: Path) -> dict[str, SegmentLeakage]:
        """MI, SIM and prompt SIM of every segment of the request, the background last.

        Args:
            embeddings: the NPZ of the run.

        Raises:
            PhotoError: no reference photo shows one of the target objects.
        """
        request, mi = sanitized.bundle.request, measure_leakage(sanitized).segments
        run = read_embeddings(embeddings, request.segments)
        absent = sorted(set(request.segments) - set(self._own))
        if absent:
            raise PhotoError(
                f"no reference photo shows {', '.join(map(request.words_of, absent))}: nothing to "
                "compare synthetic images with",
                remedy="add photos that show it, or masks",
            )
        leakage = {}
        for name in request.segments:
            own = self._own[name]
            prompts = prompt_similarity(own, run, name)
            leakage[name] = SegmentLeakage(
                mi=mi[name].histogram,
                mi_regional=mi[name].regional,
                sim=similarity(own, run[name]),
                prompt_sim=prompts.prompts if prompts else None,
                empty_prompt_sim=prompts.empty if prompts else None,
            )
        return leakage

    def utility(self, task: Task, model: Path) -> Utility:
        """The model's accuracy, or a detector's mAP50, on the labelled photos (§4.3).

        Raises:
            PhotoError: no labelled photos, of other classes or for another task.
        """
        if task is Task.DETECTION:
            seen = evaluate_detector(Detector(model), self._labelled)
            objects = {name: figures.ap50 for name, figures in seen.per_class.items()}
            return Utility("mAP50", seen.map50, None, seen.photos, objects)
        found = Predictor(model).evaluate(self._labelled).as_dict()
        low, high = found["interval_95"]
        return Utility("accuracy", found["accuracy"], (low, high), found["photos"], {})


def objects_of(utility: Utility, held: Mapping[str, float]) -> dict[str, ObjectUtility]:
    """A detector's AP50 by target object: on private photos, and on synthetic ones held back.

    Args:
        held: the latter.
    """
    return {
        name: ObjectUtility(utility=ap50, synthetic_utility=held[name])
        for name, ap50 in utility.objects.items()
        if name in held
    }


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder for a trial's model and embeddings, gone afterwards."""
    return tempfile.TemporaryDirectory(prefix="spinml-sweep-")
