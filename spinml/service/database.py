"""The connection to SQLite (embedded) or PostgreSQL, and its two kinds of transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    InterfaceError,
    InternalError,
    NoSuchModuleError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from spinml.errors import ConfigError, DatabaseUnavailableError
from spinml.service import schema
from spinml.service.locks import lock_schema

_WRITES = "spinml_writes"
UNAVAILABLE = (OperationalError, InterfaceError, InternalError, PoolTimeoutError)
"""What is raised while the database is away, restarting, full or busy: it may pass by itself."""
_ON_CONNECT = (
    # A server that is cut off from a client, or a client that hangs, must not hold locks for ever.
    "SET idle_in_transaction_session_timeout = '5min'",
    "SET tcp_keepalives_idle = 30",
    "SET tcp_keepalives_interval = 10",
    "SET tcp_keepalives_count = 3",
)
_KEEPALIVES = {
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""The same on the client's side (libpq's options; seconds, and milliseconds for the last)."""


class Database:
    """All tables behind one URL.

    :meth:`write` transactions are serialised on SQLite (``BEGIN IMMEDIATE``); on PostgreSQL they
    take row locks where they say ``with_for_update``. Objects stay readable after either.
    """

    def __init__(self, url: str) -> None:
        """Args: url: SQLAlchemy URL, ``sqlite:///PATH`` or ``postgresql+psycopg://…``.

        Raises:
            ConfigError: not such a URL.
        """
        parsed = _parse(url)
        self._engine = _sqlite(parsed) if parsed.drivername == "sqlite" else _postgresql(parsed)
        self._writing = self._engine.execution_options(**{_WRITES: True})

    def create(self) -> None:
        """Make the tables of an empty database, upgrade an embedded one, check any other.

        Raises:
            SchemaVersionError: the tables are of another version than this program's.
            DatabaseUnavailableError: the database cannot be reached.
        """
        with self._schema() as connection:
            if self.is_embedded or schema.version(connection) is None:
                schema.upgrade(connection)
            schema.check(connection)

    def upgrade(self) -> tuple[str | None, str | None]:
        """Bring the tables to this program's version; the versions before and after.

        Raises:
            SchemaVersionError: the tables are newer than this program.
            DatabaseUnavailableError: the database cannot be reached.
        """
        with self._schema() as connection:
            before = schema.version(connection)
            schema.upgrade(connection)
            return before, schema.version(connection)

    @property
    def is_embedded(self) -> bool:
        """Whether it is a file that this program alone uses."""
        return self._engine.dialect.name == "sqlite"

    @contextmanager
    def _schema(self) -> Iterator[Connection]:
        """A transaction in which nobody else changes tables."""
        try:
            with self._writing.begin() as connection:
                lock_schema(connection)
                yield connection
        except UNAVAILABLE as error:
            raise unavailable(error) from None

    def check(self) -> None:
        """See whether the database answers and has this program's tables; changes nothing.

        Raises:
            DatabaseUnavailableError: it cannot be reached.
            SchemaVersionError: the tables are of another version, or there are none.
        """
        try:
            with self._engine.connect() as connection:
                schema.check(connection)
        except UNAVAILABLE as error:
            raise unavailable(error) from None

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one state of the database."""
        with Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session whose changes are committed together, or not at all."""
        with Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Give back every connection."""
        self._engine.dispose()


def unavailable(error: Exception) -> DatabaseUnavailableError:
    """What a caller is told when the database fails: neither statement nor address."""
    return DatabaseUnavailableError(
        f"the database cannot be used: {type(error).__name__}",
        remedy="try again later; the operator finds it by /readyz and store.database",
    )


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError("store.database is not a database URL", remedy=_REMEDY) from None
    if parsed.drivername not in ("sqlite", "postgresql+psycopg"):
        raise ConfigError(
            f"store.database has the driver {parsed.drivername!r}, which is not served",
            remedy=_REMEDY,
        )
    return parsed


_REMEDY = (
    "give sqlite:///PATH or postgresql+psycopg://HOST/NAME; with a password by store.database_file "
    "or store.database_env"
)


def _sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise ConfigError(
            "store.database names no file; a database in memory is lost with the process",
            remedy=_REMEDY,
        )
    path = Path(url.database).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url.set(database=str(path)), connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _settings(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy, not sqlite3, says BEGIN
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(url: URL) -> Engine:
    try:
        engine = create_engine(url, pool_pre_ping=True, connect_args=_KEEPALIVES)
    except (NoSuchModuleError, ModuleNotFoundError):
        raise ConfigError(
            "the PostgreSQL driver is not installed", remedy="pip install 'spinml[server]'"
        ) from None

    @event.listens_for(engine, "connect")
    def _settings(connection: Any, record: Any) -> None:
        with connection.cursor() as cursor:
            for statement in _ON_CONNECT:
                cursor.execute(statement)
        connection.commit()

    return engine
