"""API keys, ``spin_<id>_<secret>``: shown once; of the secret only the argon2 hash is kept."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import select

from spinml.errors import (
    AuthenticationError,
    ConflictError,
    ExpiredKeyError,
    NotFoundError,
    RevokedKeyError,
    ScopeMissingError,
)
from spinml.pipeline.stages import check_tenant
from spinml.service.database import Database
from spinml.service.models import ApiKey, QueueTime, Scope, Tenant, now

_KEY = re.compile(r"spin_(?P<id>[0-9a-f]{12})_(?P<secret>[A-Za-z0-9_-]{43})")
# OWASP's smallest setting: the secret has 256 random bits, so that nobody can guess it anyway.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
HASHES_AT_ONCE = 2
"""In a process that verifies. Each takes 19 MiB and a core: more at once are no faster."""


@dataclass(frozen=True)
class Caller:
    """Who asks, and what the key may do."""

    tenant: str
    key_id: str
    """The public half of the key."""
    scopes: frozenset[str]

    def need(self, scopes: Iterable[str]) -> None:
        """Refuse what the key may not do.

        Raises:
            ScopeMissingError: names the scopes.
        """
        absent = sorted(set(scopes) - self.scopes)
        if absent:
            raise ScopeMissingError(
                f"this key lacks the scope {', '.join(absent)}",
                remedy="use a key that has it; spinml admin key create --scope makes one",
                details={"missing": absent},
            )


def create_tenant(database: Database, tenant: str) -> None:
    """Add a tenant.

    Raises:
        ArtifactError: not a plain name.
        ConflictError: there is or was one of that name.
    """
    check_tenant(tenant)
    with database.write() as session:
        if (row := session.get(Tenant, tenant)) is not None:
            was = "was" if row.deleted_at else "is"
            raise ConflictError(
                f"there {was} a tenant of that name",
                remedy="take another: receipts are kept under the names of deleted tenants",
                details={"tenant": tenant},
            )
        session.add(Tenant(id=tenant))
        session.flush()
        session.add(QueueTime(tenant_id=tenant))


def list_tenants(database: Database) -> Sequence[Tenant]:
    """Those that were not deleted, by age."""
    query = select(Tenant).where(Tenant.deleted_at.is_(None)).order_by(Tenant.created_at)
    with database.read() as session:
        return session.scalars(query).all()


def create_key(
    database: Database,
    tenant: str,
    *,
    label: str = "",
    valid_for: timedelta | None = None,
    scopes: Iterable[Scope] = tuple(Scope),
) -> str:
    """Make a key for ``tenant`` and return it: nobody can read it again.

    Raises:
        NotFoundError: no such tenant.
    """
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    with database.write() as session:
        row = session.get(Tenant, tenant)
        if row is None or row.deleted_at is not None:
            raise NotFoundError("no such tenant", remedy="spinml admin tenant create makes one")
        key = ApiKey(id=key_id, tenant_id=tenant, secret_hash=_HASHER.hash(secret), label=label)
        key.scopes = sorted(set(scopes))
        key.expires_at = now() + valid_for if valid_for is not None else None
        session.add(key)
    return f"spin_{key_id}_{secret}"


def list_keys(database: Database, tenant: str | None = None) -> Sequence[ApiKey]:
    """Keys by age, of one tenant or of all."""
    query = select(ApiKey).order_by(ApiKey.created_at)
    with database.read() as session:
        return session.scalars(query.where(ApiKey.tenant_id == tenant) if tenant else query).all()


def revoke_key(database: Database, key_id: str) -> datetime:
    """Make a key worthless from now on; when it was revoked (first).

    Raises:
        NotFoundError: no such key.
    """
    with database.write() as session:
        row = session.get(ApiKey, key_id)
        if row is None:
            raise NotFoundError("no such key", remedy="spinml admin key list shows their ids")
        row.revoked_at = row.revoked_at or now()
        return row.revoked_at


class KeyVerifier:
    """Tells whose key this is.

    argon2 is slow on purpose, so a secret that was right is remembered for some minutes, as a
    keyed hash under a key that only this process has. Expiry and revocation are looked up always.

    It hashes in a few threads of its own. In the requests' 40 threads, as many keys at once would
    take 760 MiB, and most of that for good: glibc keeps what a thread has freed in the thread's
    arena, of which there are 8 for each core.
    """

    def __init__(
        self, database: Database, *, remember_s: float = 600, capacity: int = 1024
    ) -> None:
        self._database = database
        self._remember_s = remember_s
        self._capacity = capacity
        self._pepper = secrets.token_bytes(32)
        self._right: dict[bytes, float] = {}
        self._hashing = ThreadPoolExecutor(HASHES_AT_ONCE, thread_name_prefix="argon2")
        self._decoy = _HASHER.hash(secrets.token_urlsafe(32))

    def caller(self, key: str) -> Caller:
        """Whose valid key this is, and what it may do.

        Raises:
            AuthenticationError: not a key, or unknown, or wrong: one message for all, and the same
                work for an unknown id as for a wrong secret.
            ExpiredKeyError, RevokedKeyError: the secret is right, and its time is over.
        """
        match = _KEY.fullmatch(key)
        if match is None:
            raise refused()
        with self._database.read() as session:
            row = session.get(ApiKey, match["id"])
        right = self._verify(row.secret_hash if row else self._decoy, match["secret"])
        if row is None or not right:
            raise refused()
        _check_time(row)
        return Caller(row.tenant_id, row.id, frozenset(row.scopes))

    def _verify(self, secret_hash: str, secret: str) -> bool:
        mark = hmac.digest(self._pepper, f"{secret_hash} {secret}".encode(), hashlib.sha256)
        if self._remembers(mark):
            return True
        return self._hashing.submit(self._hash, mark, secret_hash, secret).result()

    def _remembers(self, mark: bytes) -> bool:
        return self._right.get(mark, 0) > time.monotonic()

    def _hash(self, mark: bytes, secret_hash: str, secret: str) -> bool:
        if self._remembers(mark):  # another request of the same key was before it in the line
            return True
        try:
            _HASHER.verify(secret_hash, secret)
        except (VerificationError, InvalidHashError):
            return False
        if len(self._right) >= self._capacity:
            self._right.clear()
        self._right[mark] = time.monotonic() + self._remember_s
        return True


def refused() -> AuthenticationError:
    """The one answer to every key that does not work."""
    return AuthenticationError(
        "no valid API key was given", remedy="send the header Authorization: Bearer spin_…"
    )


def _check_time(row: ApiKey) -> None:
    remedy = "ask the operator for a new key"
    if row.revoked_at is not None:
        raise RevokedKeyError("this API key was revoked", remedy=remedy)
    if row.expires_at is not None and row.expires_at <= now():
        raise ExpiredKeyError("this API key has expired", remedy=remedy)
