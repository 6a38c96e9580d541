"""Options that several of the device's commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spinml.device.key import KEY_VARIABLE

DEFAULT_SERVER = "http://127.0.0.1:8000"

Server = Annotated[str, typer.Option("--server", envvar="SPINML_SERVER", help="Base URL.")]
KeyFile = Annotated[
    Path | None, typer.Option("--key-file", help=f"File with the API key; else {KEY_VARIABLE}.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="A fetched model.onnx.")]
