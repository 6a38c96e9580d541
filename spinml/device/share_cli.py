"""Commands that read photos, and what they send: preview, submit, sanitize, send, similarity."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from spinml.device.client import Client
from spinml.device.described import described
from spinml.device.files import writing
from spinml.device.key import api_key
from spinml.device.ledger import Ledger
from spinml.device.measures import measure_segments
from spinml.device.options import DEFAULT_SERVER, AsJson, KeyFile, Server
from spinml.device.photo_options import (
    Given,
    numbered,
    prepare,
    sanitized_photos,
    takes_photos,
)
from spinml.device.photos import load_photos
from spinml.device.preview import summarise, words_that_leave, write_preview
from spinml.device.runs_cli import follow_runs
from spinml.device.submit import submit_recorded
from spinml.device.terminal import People, print_json, reports_errors, summary_table
from spinml.privacy.bundle_file import read_bundle, write_bundle
from spinml.privacy.leakage import Leakage
from spinml.privacy.sanitizer import Sanitized


@reports_errors
@takes_photos
def preview(
    given: Given,
    out: Annotated[Path, typer.Option(help="Files to write, without ending.")] = Path("preview"),
    as_json: AsJson = False,
) -> None:
    """Write a picture and a page of what would leave, and its MI. Nothing is sent."""
    sanitized, leakage = prepare(given)
    sheet, page = write_preview(sanitized, leakage, out)
    if as_json:
        print_json(_described(sanitized, leakage) | {"sheet": str(sheet), "page": str(page)})
        return
    _tell_skipped(sanitized)
    People.print(summary_table(sanitized.bundle, leakage))
    People.print("Nothing was sent. Look at it:")
    typer.echo(f"{sheet}\n{page}")


@reports_errors
@takes_photos
def submit(
    given: Given,
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
    sanitized, leakage = prepare(given)
    if not as_json:
        _tell_skipped(sanitized)
        People.print(summary_table(sanitized.bundle, leakage))
        if not yes and _is_terminal():
            typer.confirm(f"Send this to {server}?", abort=True, err=True)
    with Client(server, key) as client:
        status = submit_recorded(client, sanitized, leakage, new=new)
        if not as_json:
            People.print("the run began; its id:")
            typer.echo(status.id)
        if follow:
            follow_runs(client, [status.id], as_json)
        elif as_json:
            print_json(_described(sanitized, leakage) | {"run": status.model_dump(mode="json")})


@reports_errors
@takes_photos
def sanitize_to_file(
    given: Given,
    out: Annotated[Path, typer.Option(help="The bundle's file.")] = Path("bundle.spinml"),
    as_json: AsJson = False,
) -> None:
    """Write what may leave into one file, for another machine to `send`. Photos stay here."""
    sanitized, leakage = prepare(given)
    Ledger().written(sanitized.bundle, leakage.as_dict())
    with writing("the bundle"):
        write_bundle(sanitized.bundle, out)
    if as_json:
        print_json(_described(sanitized, leakage) | {"file": str(out)})
        return
    _tell_skipped(sanitized)
    People.print(summary_table(sanitized.bundle, leakage))
    typer.echo(out)


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
            follow_runs(client, [run.id for run in runs], as_json)


@reports_errors
@takes_photos
def similarity(
    given: Given,
    embeddings: Annotated[
        Path, typer.Option("--embeddings", help="A run's embeddings.npz, as fetched.")
    ],
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
    request, loaded, sanitized = sanitized_photos(given)
    further = load_photos(request, distractor or [], segmenter=given.segmenter)
    measures = measure_segments(
        sanitized, loaded.photos, embeddings, embedder=embedder, distractors=further.photos
    )
    if as_json:
        print_json({name: asdict(item) for name, item in measures.items()})
        return
    _tell_skipped(numbered(loaded, sanitized))
    typer.echo("\t".join(("figure", *measures)))
    typer.echo("\t".join(("SIM", *(f"{item.sim:.3f}" for item in measures.values()))))
    for figure in described(measures):
        typer.echo("\t".join((figure.name, *figure.segments.values())))


def _described(sanitized: Sanitized, leakage: Leakage) -> dict[str, Any]:
    return {
        "segments": [asdict(item) for item in summarise(sanitized.bundle, leakage)],
        "words": words_that_leave(sanitized.bundle.request),
        "bundle": sanitized.bundle.digest,
        "mi": leakage.as_dict(),
        "skipped": [{"photo": item.index + 1, "reason": item.reason} for item in sanitized.skipped],
    }


def _tell_skipped(sanitized: Sanitized) -> None:
    for item in sanitized.skipped:
        People.print(f"[yellow]photo {item.index + 1} is left out:[/] {escape(item.reason)}")


def _is_terminal() -> bool:
    return sys.stdin.isatty()
