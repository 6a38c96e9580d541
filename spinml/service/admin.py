"""``spinml admin``: tenants, keys, quotas, runs and tables; thin commands over this folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from spinml.config import load_config
from spinml.service import erasure, keys, quotas, runs, tenant_deletion
from spinml.service.cli import ConfigOption, JsonOption
from spinml.service.database import Database
from spinml.service.models import RunState, Scope
from spinml.service.schemas import receipt_status
from spinml.service.state import open_database, open_store
from spinml.service.top import show_top

admin = typer.Typer(help="The operator's side of a service.", no_args_is_help=True)
_tenant = typer.Typer(help="Who may have runs.", no_args_is_help=True)
_key = typer.Typer(help="API keys.", no_args_is_help=True)
_quota = typer.Typer(help="What tenants use and may use.", no_args_is_help=True)
_runs = typer.Typer(help="Runs of all tenants.", no_args_is_help=True)
_database = typer.Typer(help="The database's tables.", no_args_is_help=True)
admin.command("top")(show_top)
for _name, _app in {
    "tenant": _tenant,
    "key": _key,
    "quota": _quota,
    "runs": _runs,
    "database": _database,
}.items():
    admin.add_typer(_app, name=_name)


@_tenant.command("create")
def create_tenant(name: str, config: ConfigOption = None) -> None:
    """Add a tenant, without limits; `quota set` gives it some."""
    keys.create_tenant(_open(config), name)
    typer.echo(name)


@_tenant.command("list")
def list_tenants(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the tenants."""
    rows = [
        {"tenant": tenant.id, "created": _time(tenant.created_at), "weight": tenant.weight}
        for tenant in keys.list_tenants(_open(config))
    ]
    _show(rows, as_json)


@_tenant.command("delete")
def delete_tenant(
    name: str,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="End its runs that wait or are under way.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase a tenant's runs, artifacts, keys and charges; its receipts and its name stay.

    Nodes' caches follow within minutes, by the dispatcher, and the receipts are completed.
    """
    if not yes:
        typer.confirm(f"Erase all that {name} has, for good?", abort=True)
    settings = load_config(config)
    done = asdict(
        tenant_deletion.delete_tenant(
            open_database(settings), open_store(settings), name, cancel=cancel
        )
    )
    _show([done | {"deleted_at": _time(done["deleted_at"])}], as_json)


@_key.command("create")
def create_key(
    tenant: str,
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    days: Annotated[int | None, typer.Option(min=1, help="Valid for so long.")] = None,
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it may do; once each. Default: all.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Make a key and print it: nobody can read it again."""
    valid_for = timedelta(days=days) if days is not None else None
    scopes = scope or tuple(Scope)
    key = keys.create_key(_open(config), tenant, label=label, valid_for=valid_for, scopes=scopes)
    typer.echo(key)


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
            "scopes": " ".join(row.scopes),
            "created": _time(row.created_at),
            "expires": _time(row.expires_at),
            "revoked": _time(row.revoked_at),
        }
        for row in keys.list_keys(_open(config), tenant)
    ]
    _show(rows, as_json)


@_key.command("revoke")
def revoke_key(key_id: str, config: ConfigOption = None) -> None:
    """Make a key worthless from now on."""
    typer.echo(keys.revoke_key(_open(config), key_id).isoformat(timespec="seconds"))


@_quota.command("show")
def show_quota(tenant: str, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show what a tenant uses and may use."""
    _show([asdict(quotas.usage(_open(config), tenant))], as_json)


@_quota.command("set")
def set_quota(
    tenant: str,
    concurrent_runs: Annotated[int | None, typer.Option(min=-1, help="Runs at once.")] = None,
    images: Annotated[int | None, typer.Option(min=-1, help="Drawn in 30 days.")] = None,
    gpu_seconds: Annotated[float | None, typer.Option(min=-1, help="In 30 days.")] = None,
    stored_bytes: Annotated[int | None, typer.Option(min=-1, help="In the store.")] = None,
    weight: Annotated[
        float | None, typer.Option(help="Its share of the queue against the others'.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Set limits; -1 lifts one, and what is not named stays."""
    limits = {
        "max_concurrent_runs": concurrent_runs,
        "max_images": images,
        "max_gpu_seconds": gpu_seconds,
        "max_stored_bytes": stored_bytes,
    }
    values: dict[str, float | int | None] = {
        name: None if value == -1 else value for name, value in limits.items() if value is not None
    }
    if weight is not None:
        values["weight"] = weight
    quotas.set_quotas(_open(config), tenant, **values)


@_runs.command("list")
def list_runs(
    tenant: Annotated[str | None, typer.Argument()] = None,
    state: Annotated[RunState | None, typer.Option(help="Those in this state alone.")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show runs, newest first: ids, states and times, nothing that their owners said."""
    rows = [
        {
            "id": str(run.id),
            "tenant": run.tenant_id,
            "state": run.state,
            "priority": run.priority,
            "created": _time(run.created_at),
            "updated": _time(run.updated_at),
            "error": run.error["code"] if run.error else None,
        }
        for run in runs.list_all(_open(config), tenant, state, limit)
    ]
    _show(rows, as_json)


@_runs.command("cancel")
def cancel_run(tenant: str, run_id: str, config: ConfigOption = None) -> None:
    """End a tenant's run: a queued one now, a running one at its next step."""
    typer.echo(runs.request_cancel(_open(config), tenant, run_id).state)


@_runs.command("receipts")
def show_receipts(
    tenant: str,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was erased for a tenant, newest first."""
    found = [
        receipt_status(row).model_dump(mode="json")
        for row in erasure.list_receipts(_open(config), tenant, limit)
    ]
    _show(
        found if as_json else [row | {"artifacts": len(row["artifacts"])} for row in found], as_json
    )


@_database.command("upgrade")
def upgrade_database(config: ConfigOption = None) -> None:
    """Bring the tables to this program's version. Stop the service and back up first."""
    url = load_config(config).store.database_url()
    before, after = Database(url).upgrade()
    typer.echo(f"{before or 'none'} -> {after}")


def _open(config: Path | None) -> Database:
    return open_database(load_config(config))


def _time(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at is not None else None


def _show(rows: Sequence[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rows))
        return
    table = Table(*(rows[0] if rows else ["nothing yet"]))
    for row in rows:
        table.add_row(*(str(value) if value is not None else "–" for value in row.values()))
    Console().print(table)
