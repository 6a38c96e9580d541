"""``spinml device …``: what the owner of the camera does."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer
from rich.table import Table

from spinml.bundle import HoleMode
from spinml.device.client import RESULTS, Client
from spinml.device.described import described
from spinml.device.detection_cli import tell_detection_figures, tell_detections
from spinml.device.detection_evaluation import evaluate_detector
from spinml.device.detector import Detector
from spinml.device.feature_models import open_models
from spinml.device.key import KEY_VARIABLE, api_key
from spinml.device.ledger import Ledger
from spinml.device.measures import measure_segments
from spinml.device.model_file import model_task
from spinml.device.photos import Loaded, load_photos
from spinml.device.predictor import Predictor
from spinml.device.preview import summarise, write_preview
from spinml.device.runs import RunStatus
from spinml.device.submit import submit_recorded
from spinml.device.terminal import People, print_json, reports_errors, summary_table
from spinml.device.watch import watch as watch_run
from spinml.errors import DeviceError, InvalidRequestError, error_from_dict
from spinml.images import decode_photo
from spinml.privacy.bundle_file import read_bundle, write_bundle
from spinml.privacy.leakage import Leakage, measure_leakage
from spinml.privacy.sanitizer import Sanitized, sanitize
from spinml.privacy.usable import Skipped
from spinml.request import Task, TrainingRequest, load_request

app = typer.Typer(
    help="Preview, submit, follow, fetch, predict.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # tracebacks with locals would print private paths
)

RequestFile = Annotated[Path, typer.Argument(metavar="REQUEST.yaml", help="What is asked for.")]
Photos = Annotated[list[Path] | None, typer.Argument(metavar="PHOTO…", help="Camera photos.")]
Masks = Annotated[
    list[Path] | None,
    typer.Option(
        "--mask",
        help="PNG, not black where the target object is; once for each photo. With several target "
        "objects once for each photo and object: all of the first photo, in the request's order, "
        "then all of the second. A black one says that the object is not on the photo.",
    ),
]
Hole = Annotated[
    str, typer.Option("--hole", help="How the target's place leaves an L2 background.")
]
SegmenterFile = Annotated[
    Path | None, typer.Option("--segmenter", help="YOLOv8-seg ONNX; the bundled one if not given.")
]
KeypointFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--keypoints",
        help="The pose, as OpenPose's JSON (COCO's 18); once for each photo. It is that of the "
        "target object whose feature is pose.",
    ),
]
PoseModelFile = Annotated[
    Path | None,
    typer.Option("--pose-model", envvar="SPINML_POSE_MODEL", help="YOLOv8-pose ONNX, for pose."),
]
DepthModelFile = Annotated[
    Path | None,
    typer.Option(
        "--depth-model",
        envvar="SPINML_DEPTH_MODEL",
        help="MiDaS or Depth Anything ONNX, for depth.",
    ),
]
Server = Annotated[str, typer.Option("--server", envvar="SPINML_SERVER", help="Base URL.")]
KeyFile = Annotated[
    Path | None, typer.Option("--key-file", help=f"File with the API key; else {KEY_VARIABLE}.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="A fetched model.onnx.")]

DEFAULT_SERVER = "http://127.0.0.1:8000"


@app.command()
@reports_errors
def preview(
    request: RequestFile,
    photos: Photos = None,
    mask: Masks = None,
    hole: Hole = "inpaint",
    segmenter: SegmenterFile = None,
    keypoints: KeypointFiles = None,
    pose_model: PoseModelFile = None,
    depth_model: DepthModelFile = None,
    out: Annotated[Path, typer.Option(help="Files to write, without ending.")] = Path("preview"),
    as_json: AsJson = False,
) -> None:
    """Write a picture and a page of what would leave, and its MI. Nothing is sent."""
    given = _Given(photos or [], mask or [], keypoints or [], segmenter, pose_model, depth_model)
    sanitized, leakage, skipped = _prepare(request, given, hole)
    sheet, page = write_preview(sanitized, leakage, out)
    if as_json:
        print_json(
            _described(sanitized, leakage, skipped) | {"sheet": str(sheet), "page": str(page)}
        )
        return
    _tell_skipped(skipped)
    People.print(summary_table(summarise(sanitized.bundle, leakage)))
    People.print("Nothing was sent. Look at it:")
    typer.echo(f"{sheet}\n{page}")


@app.command()
@reports_errors
def submit(
    request: RequestFile,
    photos: Photos = None,
    mask: Masks = None,
    hole: Hole = "inpaint",
    segmenter: SegmenterFile = None,
    keypoints: KeypointFiles = None,
    pose_model: PoseModelFile = None,
    depth_model: DepthModelFile = None,
    server: Server = DEFAULT_SERVER,
    key_file: KeyFile = None,
    follow: Annotated[bool, typer.Option("--watch", help="Follow the run to its end.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    new: Annotated[
        bool, typer.Option("--new", help="Begin another run of a bundle sent before.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send what the preference allows, and begin a run."""
    key = api_key(key_file)
    given = _Given(photos or [], mask or [], keypoints or [], segmenter, pose_model, depth_model)
    sanitized, leakage, skipped = _prepare(request, given, hole)
    if not as_json:
        _tell_skipped(skipped)
        People.print(summary_table(summarise(sanitized.bundle, leakage)))
        if not yes and _is_terminal():
            typer.confirm(f"Send this to {server}?", abort=True, err=True)
    with Client(server, key) as client:
        status = submit_recorded(client, sanitized, leakage, new=new)
        if not as_json:
            People.print("the run began; its id:")
            typer.echo(status.id)
        if follow:
            _follow(client, [status.id], as_json)
        elif as_json:
            print_json(
                _described(sanitized, leakage, skipped) | {"run": status.model_dump(mode="json")}
            )


@app.command("sanitize")
@reports_errors
def sanitize_to_file(
    request: RequestFile,
    photos: Photos = None,
    mask: Masks = None,
    hole: Hole = "inpaint",
    segmenter: SegmenterFile = None,
    keypoints: KeypointFiles = None,
    pose_model: PoseModelFile = None,
    depth_model: DepthModelFile = None,
    out: Annotated[Path, typer.Option(help="The bundle's file.")] = Path("bundle.spinml"),
    as_json: AsJson = False,
) -> None:
    """Write what may leave into one file, for another machine to `send`. Photos stay here."""
    given = _Given(photos or [], mask or [], keypoints or [], segmenter, pose_model, depth_model)
    sanitized, leakage, skipped = _prepare(request, given, hole)
    Ledger().written(sanitized.bundle, leakage.as_dict())
    try:
        write_bundle(sanitized.bundle, out)
    except OSError as error:
        raise DeviceError(f"the bundle cannot be written: {type(error).__name__}") from None
    if as_json:
        print_json(_described(sanitized, leakage, skipped) | {"file": str(out)})
        return
    _tell_skipped(skipped)
    People.print(summary_table(summarise(sanitized.bundle, leakage)))
    typer.echo(out)


@app.command()
@reports_errors
def send(
    bundles: Annotated[
        list[Path], typer.Argument(metavar="BUNDLE…", help="Files of `spinml device sanitize`.")
    ],
    server: Server = DEFAULT_SERVER,
    key_file: KeyFile = None,
    follow: Annotated[bool, typer.Option("--watch", help="Follow the runs to their ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """Begin the runs of bundles that were sanitized elsewhere; sent again, they are the same runs.

    The runs go on when this command ends: `watch` and `fetch` them from anywhere.
    """
    # All are read before one is sent: a broken file must not leave half of them behind.
    read = [read_bundle(path) for path in bundles]
    with Client(server, api_key(key_file)) as client:
        runs = [client.submit(bundle) for bundle in read]
        for run in runs:
            if as_json:
                print_json({"run": run.model_dump(mode="json")})
            else:
                typer.echo(run.id)
        if follow:
            _follow(client, [run.id for run in runs], as_json)


@app.command()
@reports_errors
def status(
    run: RunId,
    server: Server = DEFAULT_SERVER,
    key_file: KeyFile = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Once it has ended; without events, by long polls.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tell how a run is."""
    with Client(server, api_key(key_file)) as client:
        _show(client.wait(run) if wait else client.status(run), as_json)


@app.command()
@reports_errors
def watch(
    run: RunId,
    server: Server = DEFAULT_SERVER,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Follow a run to its end; exit code 1 when it did not succeed."""
    with Client(server, api_key(key_file)) as client:
        _follow(client, [run], as_json)


@app.command()
@reports_errors
def cancel(
    run: RunId,
    server: Server = DEFAULT_SERVER,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Stop a run."""
    with Client(server, api_key(key_file)) as client:
        client.cancel(run)
        _show(client.status(run), as_json)


@app.command()
@reports_errors
def delete(
    run: RunId,
    server: Server = DEFAULT_SERVER,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Erase a run and all that came of it from the server."""
    with Client(server, api_key(key_file)) as client:
        client.delete(run)
    if as_json:
        print_json({"deleted": run})
    else:
        People.print("erased")


@app.command()
@reports_errors
def fetch(
    run: RunId,
    what: Annotated[
        list[str] | None, typer.Option("--what", help=f"{', '.join(RESULTS)}; all if not given.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path(),
    server: Server = DEFAULT_SERVER,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Download a run's results."""
    names = what or list(RESULTS)
    unknown = [name for name in names if name not in RESULTS]
    if unknown:
        raise InvalidRequestError(
            f"no result {', '.join(unknown)}", remedy=f"there are: {', '.join(RESULTS)}"
        )
    with Client(server, api_key(key_file)) as client:
        for name in names:
            fetched = client.fetch(run, name, out / RESULTS[name])
            if as_json:
                print_json({"result": name, **asdict(fetched)})
            else:
                typer.echo(fetched.path)


@app.command()
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


@app.command()
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
    table = Table("true \\ predicted", *evaluation.classes, title="Confusion")
    for name, row in zip(evaluation.classes, evaluation.confusion, strict=True):
        table.add_row(name, *(str(count) for count in row))
    People.print(table)


@app.command()
@reports_errors
def similarity(
    request: RequestFile,
    embeddings: Annotated[
        Path, typer.Option("--embeddings", help="A run's embeddings.npz, as fetched.")
    ],
    photos: Photos = None,
    mask: Masks = None,
    hole: Hole = "inpaint",
    segmenter: SegmenterFile = None,
    keypoints: KeypointFiles = None,
    pose_model: PoseModelFile = None,
    depth_model: DepthModelFile = None,
    embedder: Annotated[
        Path | None, typer.Option(help="ONNX embedder of the run; the bundled one if not given.")
    ] = None,
    distractor: Annotated[
        list[Path] | None,
        typer.Option(
            help="Another photo of the target object for the attacker's gallery; may be given "
            "again. Is segmented, takes no mask."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """SIM, re-identification, copies, prompt SIM: what a run tells of you. Nothing is sent."""
    given = _Given(photos or [], mask or [], keypoints or [], segmenter, pose_model, depth_model)
    parsed, loaded, sanitized = _sanitized(request, given, hole)
    further = load_photos(parsed, distractor or [], segmenter=segmenter)
    measures = measure_segments(
        sanitized, loaded.photos, embeddings, embedder=embedder, distractors=further.photos
    )
    if as_json:
        print_json({name: asdict(item) for name, item in measures.items()})
        return
    _tell_skipped(list(loaded.skipped))
    typer.echo("\t".join(("figure", *measures)))
    typer.echo("\t".join(("SIM", *(f"{item.sim:.3f}" for item in measures.values()))))
    for figure in described(measures):
        typer.echo("\t".join((figure.name, *figure.segments.values())))


@app.command()
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
        table.add_row(when, entry.state, entry.server, entry.run, entry.bundle[:12], shared)
    People.print(table)
    if head is not None:
        typer.echo(f"the chain is whole: {len(entries)} entries, last hash {head}")


@dataclass(frozen=True)
class _Given:
    """The files that a command was given beside its request."""

    photos: list[Path]
    masks: list[Path]
    keypoints: list[Path]
    segmenter: Path | None
    pose_model: Path | None
    depth_model: Path | None


def _sanitized(
    request_file: Path, given: _Given, hole: str
) -> tuple[TrainingRequest, Loaded, Sanitized]:
    """Read, segment and sanitize."""
    mode = _hole_mode(hole)
    request = load_request(request_file)
    models = open_models(request, pose=given.pose_model, depth=given.depth_model)
    loaded = load_photos(
        request,
        given.photos,
        masks=given.masks,
        keypoints=given.keypoints,
        segmenter=given.segmenter,
    )
    return request, loaded, sanitize(request, loaded.photos, hole=mode, models=models)


def _prepare(
    request_file: Path, given: _Given, hole: str
) -> tuple[Sanitized, Leakage, list[Skipped]]:
    """Read, segment, sanitize and measure; the photos left out by their place among the files."""
    _, loaded, sanitized = _sanitized(request_file, given, hole)
    unfit = [Skipped(loaded.sources[item.index], item.reason) for item in sanitized.skipped]
    skipped = sorted([*loaded.skipped, *unfit], key=lambda item: item.index)
    return sanitized, measure_leakage(sanitized), skipped


def _hole_mode(hole: str) -> HoleMode:
    if hole not in get_args(HoleMode):
        raise InvalidRequestError(
            f"no hole mode {hole!r}", remedy=f"choose one of: {', '.join(get_args(HoleMode))}"
        )
    return cast(HoleMode, hole)


def _follow(client: Client, runs: list[str], as_json: bool) -> None:
    """Follow one after the other; exit code 1 when one did not succeed."""
    tell = (lambda event: print_json(event.model_dump(mode="json"))) if as_json else None
    ended = []
    for run in runs:
        ended.append(watch_run(client, run, People, tell))
        _show(ended[-1], as_json)
    if any(status.state != "succeeded" for status in ended):
        raise typer.Exit(1)


def _show(status: RunStatus, as_json: bool) -> None:
    if as_json:
        print_json(status.model_dump(mode="json"))
        return
    typer.echo(f"{status.id}\t{status.state}")
    for stage in status.stages:
        People.print(f"  {stage.label}: {stage.state} {stage.done}/{stage.total} {stage.unit}")
    if status.error:
        People.print(f"[bold red]error[/] {error_from_dict(status.error)}")


def _described(sanitized: Sanitized, leakage: Leakage, skipped: list[Skipped]) -> dict[str, Any]:
    return {
        "segments": [asdict(item) for item in summarise(sanitized.bundle, leakage)],
        "bundle": sanitized.bundle.digest,
        "mi": leakage.as_dict(),
        "skipped": [{"photo": item.index + 1, "reason": item.reason} for item in skipped],
    }


def _tell_skipped(skipped: list[Skipped]) -> None:
    for item in skipped:
        People.print(f"[yellow]photo {item.index + 1} is left out:[/] {item.reason}")


def _is_terminal() -> bool:
    return sys.stdin.isatty()
