"""Migrations on SQLite and on PostgreSQL: the same tables as the models, and the way there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text
from typer.testing import CliRunner

from spinml.errors import SchemaVersionError
from spinml.service import schema
from spinml.service.admin import admin
from spinml.service.database import Database
from spinml.service.keys import create_tenant, list_keys, list_tenants
from spinml.service.models import Base, Scope

AT = "'2026-01-01 00:00:00'"
RUN = "'0123456789abcdef0123456789abcdef'"
OLD_ROWS = (
    f"INSERT INTO tenants VALUES ('old', {AT})",
    "INSERT INTO api_keys (id, tenant_id, secret_hash, label, created_at)"
    f" VALUES ('0123456789ab', 'old', 'none', '', {AT})",
    "INSERT INTO runs (id, tenant_id, idempotency_key, bundle_digest, state, request, plan,"
    " created_at, updated_at, cancel_requested, last_event)"
    f" VALUES ({RUN}, 'old', 'k', 'd', 'succeeded', '{{}}', '{{}}', {AT}, {AT}, false, 0)",
    f"INSERT INTO events VALUES ({RUN}, 1, 'state', '{{}}', {AT})",
)


def change(url: str, *statements: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def make_old(url: str) -> None:
    """The tables of SpinML 0.1, which wrote no version down, with a run."""
    engine, config = create_engine(url), Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, schema.FIRST)
    engine.dispose()
    change(url, "DROP TABLE alembic_version", *OLD_ROWS)


def test_the_migrated_tables_are_the_models(database_url: str) -> None:
    Database(database_url).create()
    engine = create_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_what_was_there_is_kept(database_url: str) -> None:
    make_old(database_url)
    database = Database(database_url)
    assert database.upgrade() == (schema.FIRST, schema.latest())
    assert database.upgrade() == (schema.latest(), schema.latest())
    database.create()
    (tenant,) = list_tenants(database)
    assert (tenant.weight, tenant.max_images) == (1.0, None)
    (key,) = list_keys(database)
    assert set(key.scopes) == set(Scope)
    with database.read() as session:
        ((needs_bundle, priority),) = session.execute(
            text("SELECT needs_bundle, priority FROM runs")
        )
        assert (bool(needs_bundle), priority) == (False, 0)
        assert session.scalar(text("SELECT count(*) FROM events")) == 1
        assert session.scalar(text("SELECT tenant_id FROM queue_times")) == "old"
    database.close()


def test_embedded_upgrades_itself(sqlite_url: str) -> None:
    make_old(sqlite_url)
    database = Database(sqlite_url)
    database.create()
    create_tenant(database, "new")
    assert {tenant.id for tenant in list_tenants(database)} == {"old", "new"}


def test_postgresql_of_an_old_version_names_the_command(postgresql: str, tmp_path: Path) -> None:
    change(postgresql, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    make_old(postgresql)
    database = Database(postgresql)
    with pytest.raises(SchemaVersionError) as caught:
        database.create()
    assert "spinml admin database upgrade" in caught.value.remedy
    assert caught.value.details == {"found": schema.FIRST, "wanted": schema.latest()}
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"store": {"database": postgresql}}))
    result = CliRunner().invoke(
        admin, ["database", "upgrade", "--config", str(config)], catch_exceptions=False
    )
    assert result.stdout.strip() == f"{schema.FIRST} -> {schema.latest()}"
    database.create()
    database.close()


def test_tables_of_a_newer_version_are_left_alone(database_url: str) -> None:
    database = Database(database_url)
    database.create()
    change(database_url, "UPDATE alembic_version SET version_num = '9999'")
    for refused in (database.create, database.upgrade):
        with pytest.raises(SchemaVersionError) as caught:
            refused()
        assert "newer" in caught.value.remedy
    database.close()
