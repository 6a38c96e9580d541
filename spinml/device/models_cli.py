"""Commands that need no server: predict, evaluate, ledger."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from spinml.device.detection_cli import tell_detection_figures, tell_detections
from spinml.device.detection_evaluation import evaluate_detector
from spinml.device.detector import Detector
from spinml.device.ledger import Ledger
from spinml.device.model_file import model_task
from spinml.device.options import AsJson, ModelFile
from spinml.device.predictor import Predictor
from spinml.device.terminal import People, print_json, reports_errors
from spinml.errors import InvalidRequestError
from spinml.images import decode_photo
from spinml.request import Task


@reports_errors
def predict(
    model: ModelFile,
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO…")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the photos with a detector's boxes drawn in.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Classify photos on the device, or detect in them: what the model is for."""
    if model_task(model) == Task.DETECTION:
        tell_detections(Detector(model), photos, out, as_json)
        return
    if out is not None:
        raise InvalidRequestError(
            "--out is given with a classifier, which finds no boxes", remedy="leave it out"
        )
    predictor = Predictor(model)
    for path in photos:
        prediction = predictor.predict([decode_photo(path)])[0]
        if as_json:
            print_json({"photo": str(path), **asdict(prediction)})
        else:
            chance = prediction.probabilities[prediction.label]
            typer.echo(f"{path}\t{prediction.label}\t{chance:.1%}")


@reports_errors
def evaluate(
    model: ModelFile,
    folder: Annotated[Path, typer.Argument(metavar="LABELLED_DIR")],
    as_json: AsJson = False,
) -> None:
    """Measure a model on labelled photos.

    A classifier's folder has one sub-folder for each class, a detector's images/ and labels/ in
    YOLO's format.
    """
    if model_task(model) == Task.DETECTION:
        tell_detection_figures(evaluate_detector(Detector(model), folder), as_json)
        return
    evaluation = Predictor(model).evaluate(folder)
    figures = evaluation.as_dict()
    if as_json:
        print_json(figures)
        return
    low, high = figures["interval_95"]
    typer.echo(
        f"accuracy {evaluation.accuracy:.1%} "
        f"(95 % interval {low:.1%} to {high:.1%}, {evaluation.photos} photos)"
    )
    table = Table("true \\ predicted", *map(escape, evaluation.classes), title="Confusion")
    for name, row in zip(evaluation.classes, evaluation.confusion, strict=True):
        table.add_row(escape(name), *(str(count) for count in row))
    People.print(table)


@reports_errors
def ledger(
    verify: Annotated[bool, typer.Option("--verify", help="Check the whole chain.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what was shared with whom and when."""
    book = Ledger()
    head = book.verify() if verify else None
    entries = book.entries()
    if as_json:
        print_json(
            {
                "entries": [entry.model_dump(mode="json") for entry in entries],
                "verified": verify,
                "head": head,
            }
        )
        return
    table = Table("when (UTC)", "state", "server", "run", "bundle", "shared")
    for entry in entries:
        shared = ", ".join(f"{s.name} {s.how}: {s.images} image(s)" for s in entry.segments)
        when = f"{entry.when:%Y-%m-%d %H:%M:%S}"
        told = (when, entry.state, entry.server, entry.run or "", entry.bundle[:12], shared)
        table.add_row(*map(escape, told))
    People.print(table)
    if head is not None:
        typer.echo(f"the chain is whole: {len(entries)} entries, last hash {head}")
