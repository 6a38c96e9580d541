"""``spinml device …``: what the owner of the camera does."""

from __future__ import annotations

from collections.abc import Callable

import typer

from spinml.device import models_cli, runs_cli, share_cli

app = typer.Typer(
    help="Preview, submit, follow, fetch, predict.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # tracebacks with locals would print private paths
)
COMMANDS: dict[str, Callable[..., None]] = {
    "preview": share_cli.preview,
    "submit": share_cli.submit,
    "sanitize": share_cli.sanitize_to_file,
    "send": share_cli.send,
    "status": runs_cli.status,
    "watch": runs_cli.watch,
    "cancel": runs_cli.cancel,
    "delete": runs_cli.delete,
    "fetch": runs_cli.fetch,
    "predict": models_cli.predict,
    "evaluate": models_cli.evaluate,
    "similarity": share_cli.similarity,
    "ledger": models_cli.ledger,
}
for name, command in COMMANDS.items():
    app.command(name)(command)
