"""``spinml``: the one command. Parts that are not installed say how to install them."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from spinml import __version__
from spinml.device.cli import app as device_app
from spinml.errors import MissingExtraError, SpinMLError
from spinml.request import load_request

app = typer.Typer(
    name="spinml",
    help="Train a small private vision model from a few sanitized photos.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(device_app, name="device")


def need_extra(module: str, extra: str) -> None:
    """Raise MissingExtraError where ``module`` cannot be imported."""
    if importlib.util.find_spec(module) is None:
        raise MissingExtraError(
            f"this needs {module}, which is not installed",
            remedy=f"pip install 'spinml[{extra}]'",
        )


if importlib.util.find_spec("ray") is not None:
    from spinml.service.admin import admin
    from spinml.service.cli import serve
    from spinml.tradeoffs.command import sweep

    app.command("serve")(serve)
    app.command("sweep")(sweep)
    app.add_typer(admin, name="admin")
else:

    @app.command("serve")
    def _serve_missing() -> None:
        """Start the service (needs the server extra)."""
        need_extra("ray", "server")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything the demo makes.")] = Path(
        "out/demo"
    ),
    config: Annotated[
        Path | None, typer.Option(help="Server configuration; default: cluster/laptop.yaml's.")
    ] = None,
    target: Annotated[str, typer.Option(help="Scheme of the target object: L0, L1, L2.")] = "L2",
    background: Annotated[str, typer.Option(help="Scheme of the background: L0, L1, L2.")] = "L0",
    images_per_class: Annotated[
        int | None, typer.Option(min=4, help="Synthetic images per class.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same dataset.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """The main job, end to end, on the photos of the simulated home.

    Starts Ray and the service on this machine, plays the device with ten private photos of a dog,
    and ends with the accuracy on the home's two hundred labelled test photos.
    """
    need_extra("ray", "server")
    from spinml.demo import DemoSettings, run_demo

    settings = DemoSettings(
        out=out,
        config=config,
        target=target,
        background=background,
        images_per_class=images_per_class,
        seed=seed,
    )
    console = Console(stderr=as_json)
    result = run_demo(settings, console)
    if as_json:
        typer.echo(json.dumps(result.as_dict(), indent=2))


@app.command()
def baseline(
    request: Annotated[Path, typer.Argument(help="Request file: its classes are asked for.")],
    labelled: Annotated[Path, typer.Argument(help="Folder with a sub-folder of photos a class.")],
    model: Annotated[
        str, typer.Option(help="“home”, a local folder or a hub name: CLIP, SigLIP …")
    ] = "home",
    template: Annotated[
        str | None, typer.Option(help="Prompt with {label}, {object}, {background}.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """How well a generic model does on your photos without being trained for them (§5.7).

    It runs here; nothing is sent. To be compared with `spinml device evaluate`.
    """
    need_extra("torch", "server")
    from spinml.training.zero_shot import TEMPLATE, measure_baseline

    measured = measure_baseline(
        load_request(request), labelled, model=model, template=template or TEMPLATE
    )
    figures = measured.as_dict()
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
        return
    low, high = figures["interval_95"]
    typer.echo(
        f"{100 * figures['accuracy']:.1f} % of {figures['photos']} photos right "
        f"(95 %: {100 * low:.1f}–{100 * high:.1f})"
    )
    for name, share in figures["per_class"].items():
        typer.echo(f"  {name}: {100 * share:.1f} %")


@app.command()
def version() -> None:
    """The version that is installed."""
    typer.echo(__version__)


def main() -> None:
    """Run the command; what was raised on purpose becomes a message and exit code 1."""
    try:
        app()
    except SpinMLError as error:
        if "--json" in sys.argv:
            typer.echo(json.dumps({"error": error.as_dict()}))
        console = Console(stderr=True, emoji=False)
        console.print(f"[bold red]{error.code}[/]: {escape(error.message)}", highlight=False)
        if error.remedy:
            console.print(f"  → {error.remedy}", highlight=False, markup=False)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
