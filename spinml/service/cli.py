"""``spinml serve`` and ``spinml admin``: thin commands over the functions beside this file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from spinml.config import load_config
from spinml.service import keys
from spinml.service.database import Database
from spinml.service.state import open_database

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Server configuration, e.g. cluster/laptop.yaml.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

admin = typer.Typer(help="Tenants and API keys of a service.", no_args_is_help=True)
_tenant = typer.Typer(help="Who may have runs.", no_args_is_help=True)
_key = typer.Typer(help="API keys.", no_args_is_help=True)
admin.add_typer(_tenant, name="tenant")
admin.add_typer(_key, name="key")


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
    from spinml.service.launch import RunningService, serve_forever

    def announce(service: RunningService) -> None:
        typer.echo(f"SpinML serves at {service.url}")
        typer.echo(f"this machine's API key lies in {key_file()}")

    serve_forever(
        load_config(config),
        address=address,
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        announce=announce,
    )


@_tenant.command("create")
def create_tenant(name: str, config: ConfigOption = None) -> None:
    """Add a tenant."""
    keys.create_tenant(_open(config), name)
    typer.echo(name)


@_tenant.command("list")
def list_tenants(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the tenants."""
    rows = [
        {"tenant": tenant.id, "created": tenant.created_at.isoformat(timespec="seconds")}
        for tenant in keys.list_tenants(_open(config))
    ]
    _show(rows, as_json)


@_key.command("create")
def create_key(
    tenant: str,
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    days: Annotated[int | None, typer.Option(min=1, help="Valid for so long.")] = None,
    config: ConfigOption = None,
) -> None:
    """Make a key and print it: nobody can read it again."""
    valid_for = timedelta(days=days) if days is not None else None
    typer.echo(keys.create_key(_open(config), tenant, label=label, valid_for=valid_for))


@_key.command("list")
def list_keys(
    tenant: Annotated[str | None, typer.Argument()] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show keys by their ids."""
    rows = [
        {
            "id": row.id,
            "tenant": row.tenant_id,
            "label": row.label,
            "created": row.created_at.isoformat(timespec="seconds"),
            "expires": row.expires_at.isoformat(timespec="seconds") if row.expires_at else None,
            "revoked": row.revoked_at.isoformat(timespec="seconds") if row.revoked_at else None,
        }
        for row in keys.list_keys(_open(config), tenant)
    ]
    _show(rows, as_json)


@_key.command("revoke")
def revoke_key(key_id: str, config: ConfigOption = None) -> None:
    """Make a key worthless from now on."""
    typer.echo(keys.revoke_key(_open(config), key_id).isoformat(timespec="seconds"))


def _open(config: Path | None) -> Database:
    return open_database(load_config(config))


def _show(rows: Sequence[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rows))
        return
    table = Table(*(rows[0] if rows else ["nothing yet"]))
    for row in rows:
        table.add_row(*(str(value) if value is not None else "–" for value in row.values()))
    Console().print(table)
