"""``spinml serve``: a thin command over :mod:`spinml.service.launch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spinml.config import load_config

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Server configuration, e.g. cluster/laptop.yaml.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def serve(
    config: ConfigOption = None,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster; without it one starts on this machine.")
    ] = None,
    num_cpus: Annotated[int | None, typer.Option(help="CPUs of that cluster.")] = None,
    num_gpus: Annotated[int | None, typer.Option(help="GPUs of that cluster.")] = None,
) -> None:
    """Serve until Ctrl-C."""
    from spinml.device.key import key_file
    from spinml.service.launch import DEFAULT_TENANT, RunningService, serve_forever

    def announce(service: RunningService) -> None:
        typer.echo(f"SpinML serves at {service.url}")
        if service.key is not None:
            typer.echo(f"this machine's API key lies in {key_file()}")
        else:
            typer.echo(
                f"this machine has no API key: its tenant {DEFAULT_TENANT} was deleted; "
                "spinml admin tenant create and key create make others"
            )

    serve_forever(
        load_config(config),
        address=address,
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        announce=announce,
    )
