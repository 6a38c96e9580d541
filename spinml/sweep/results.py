"""What came out of a sweep, kept trial by trial in its folder.

``trials/<id>.json`` is a finished trial, ``samples/<id>/<number>-<class>.png`` its first synthetic
image of each class, ``failed/<id>.json`` a broken one. Each file appears whole, at once: a killed
sweep loses no finished trial. Nothing in the folder is a private photo, but an image drawn by a
model that was tuned on pixels shows what these show.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SegmentLeakage(_Part):
    """Of one segment: MI (eq. 1) as shares of its entropy, and SIM (eq. 2)."""

    mi: float
    """By the joint histogram."""
    mi_regional: float
    sim: float
    prompt_sim: float | None
    """SIM of the prompts that were used with the private segments (table 4d); None when the run's
    embedder has no text tower."""
    empty_prompt_sim: float | None
    """The same of an empty prompt: table 4d's baseline."""


class ObjectUtility(_Part):
    """A detector's AP at IoU 0.5 for one target object, shares."""

    utility: float
    """On the labelled private photos."""
    synthetic_utility: float
    """On synthetic images that training did not see."""


class StageCost(_Part):
    """A stage that the trial's plan has, and the seconds it took whoever executed it."""

    digest: str
    kind: str
    seconds: float


class TrialRow(_Part):
    """A finished trial."""

    id: str
    label: str
    task: str
    seed: int
    members: tuple[dict[str, str], ...]
    """Scheme by segment; several for a mixture."""
    utility_name: str
    """"accuracy" or "mAP50"."""
    utility: float
    """On the labelled private photos, a share."""
    utility_interval: tuple[float, float] | None
    """95 %, over the photos; None where the metric has none."""
    photos: int
    synthetic_utility: float
    """On synthetic images that training did not see."""
    objects: dict[str, ObjectUtility]
    """By target object's words; of a detection alone."""
    leakage: dict[str, SegmentLeakage]
    """By segment, the background last."""
    seconds: float
    """From start to finish, waiting for shared stages included."""
    stages: tuple[StageCost, ...]
    executed: tuple[str, ...]
    """Digests of the stages that this trial executed; others were there, or made by another."""
    samples: tuple[tuple[str, str], ...]
    """Class and file below the sweep's folder."""
    memory_mib: float
    """Resident memory of the process that plays the home, after the trial."""


class FailedTrial(_Part):
    """A broken trial: its error, as :meth:`spinml.errors.SpinMLError.as_dict`."""

    id: str
    label: str
    seed: int
    error: dict[str, Any]


class SkippedTrial(_Part):
    """A trial that early stopping left out."""

    label: str
    seed: int
    reason: str


def write_whole(path: Path, data: str | bytes) -> None:
    """Write a file that is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data.encode() if isinstance(data, str) else data)
    partial.replace(path)


class SweepFolder:
    """The trials of a sweep on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def finish(self, row: TrialRow, samples: Mapping[str, bytes]) -> None:
        """Keep a finished trial; ``samples``: class → PNG. The row is written last."""
        for label, file in row.samples:
            write_whole(self.path / file, samples[label])
        write_whole(self.path / "trials" / f"{row.id}.json", row.model_dump_json())
        (self.path / "failed" / f"{row.id}.json").unlink(missing_ok=True)

    def fail(self, trial: FailedTrial) -> None:
        """Keep a broken trial; it is tried again when the sweep is run again."""
        write_whole(self.path / "failed" / f"{trial.id}.json", trial.model_dump_json())

    def finished(self, trial: str) -> TrialRow | None:
        """The trial called ``trial``; None when it has to be done (again)."""
        path = self.path / "trials" / f"{trial}.json"
        try:
            return TrialRow.model_validate_json(path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def failed(self, trial: str) -> FailedTrial | None:
        """The broken trial called ``trial``."""
        path = self.path / "failed" / f"{trial}.json"
        return FailedTrial.model_validate_json(path.read_bytes()) if path.is_file() else None


def sample_file(trial: str, number: int, label: str) -> str:
    """Where a trial's image of its class ``label``, the ``number``-th, lies in the sweep's folder;
    words in other letters, or but for punctuation the same, differ by the number alone."""
    return f"samples/{trial}/{number}-{re.sub(r'[^A-Za-z0-9]+', '_', label)}.png"


def write_tables(folder: Path, payload: Mapping[str, Any], rows: Sequence[TrialRow]) -> None:
    """``results.json`` (everything) and ``results.parquet`` (a flat row a finished trial)."""
    write_whole(folder / "results.json", json.dumps(payload, indent=2))
    table = pa.Table.from_pylist([_flat(row) for row in rows])
    partial = folder / "results.parquet.partial"
    pq.write_table(table, partial)
    partial.replace(folder / "results.parquet")


def _flat(row: TrialRow) -> dict[str, Any]:
    flat: dict[str, Any] = {
        "trial": row.id,
        "task": row.task,
        "preference": row.label,
        "seed": row.seed,
        row.utility_name: row.utility,
        f"synthetic_{row.utility_name}": row.synthetic_utility,
        "photos": row.photos,
        "seconds": row.seconds,
        "stages_executed": len(row.executed),
    }
    for name, leakage in row.leakage.items():
        flat |= {f"{figure}_{name}": value for figure, value in leakage.model_dump().items()}
    return flat


def shared_compute(rows: Iterable[TrialRow]) -> tuple[float, float]:
    """Seconds of all stages, each once, and what they sum to when no trial shares any."""
    once: dict[str, float] = {}
    alone = 0.0
    for row in rows:
        for stage in row.stages:
            once[stage.digest] = stage.seconds
            alone += stage.seconds
    return sum(once.values()), alone
