"""Which version the tables have, and the way to this program's (Alembic)."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from spinml.errors import SchemaVersionError

MIGRATIONS = Path(__file__).parent / "migrations"
FIRST = "0001"
"""The tables of SpinML 0.1, which wrote no version down."""


def latest() -> str:
    """The version of this program's tables."""
    return str(ScriptDirectory(str(MIGRATIONS)).get_current_head())


def version(connection: Connection) -> str | None:
    """The version of the tables; None: there are none."""
    found = MigrationContext.configure(connection).get_current_revision()
    if found is None and inspect(connection).has_table("runs"):
        return FIRST
    return found


def upgrade(connection: Connection) -> None:
    """Bring the tables to this program's version, within the connection's transaction.

    Raises:
        SchemaVersionError: they are of a version that this program does not know.
    """
    found = version(connection)
    if found is not None and not _is_known(found):
        raise _other(found)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    if found == FIRST:
        command.stamp(config, FIRST)
    command.upgrade(config, "head")


def check(connection: Connection) -> None:
    """Refuse tables of another version than this program's.

    Raises:
        SchemaVersionError: says which, and what to do.
    """
    found = version(connection)
    if found != latest():
        raise _other(found)


def _is_known(found: str) -> bool:
    scripts = ScriptDirectory(str(MIGRATIONS))
    return found in {script.revision for script in scripts.walk_revisions()}


def _other(found: str | None) -> SchemaVersionError:
    remedy = "stop the service, back the database up, and run: spinml admin database upgrade"
    if found is not None and not _is_known(found):
        remedy = "a newer SpinML made it: install that version, or take another database"
    return SchemaVersionError(
        f"the database has version {found or 'none'} of the tables, {latest()} wanted",
        remedy=remedy,
        details={"found": found, "wanted": latest()},
    )
