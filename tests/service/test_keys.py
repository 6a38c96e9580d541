"""Many keys at once: their hashes take little memory, and each is looked up once."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from spinml.service import keys
from spinml.service.database import Database
from spinml.service.keys import HASHES_AT_ONCE, KeyVerifier, create_key

REQUESTS = 40
"""As many threads as Starlette has for requests."""
MOST_MIB = 150
"""Two hashes at once, with room; 40 at once take 760."""

PEAK = f"""
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from spinml.errors import AuthenticationError
from spinml.service.database import Database
from spinml.service.keys import KeyVerifier

def peak_mib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

def ask(number):
    try:
        verifier.caller(f"spin_{{number:012x}}_{{'x' * 43}}")
    except AuthenticationError:
        return True

verifier = KeyVerifier(Database(sys.argv[1]))
with ThreadPoolExecutor({REQUESTS}) as requests:
    before = peak_mib()
    assert all(requests.map(ask, range({2 * REQUESTS})))
print(peak_mib() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_many_unknown_keys_at_once_take_little_memory(sqlite_url: str) -> None:
    Database(sqlite_url).create()
    command = [sys.executable, "-c", PEAK, sqlite_url]
    told = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=Path(__file__).parents[2],
    )
    assert 0 < float(told.stdout) < MOST_MIB


class Watched(PasswordHasher):
    """Notes how many verify at once, and in how many threads."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.most = self.now = self.hashes = 0
        self.threads: set[int] = set()
        self._lock = threading.Lock()

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:
        with self._lock:
            self.now += 1
            self.hashes += 1
            self.most = max(self.most, self.now)
            self.threads.add(threading.get_ident())
        try:
            time.sleep(0.02)  # so that others could come
            return super().verify(hash, password)
        finally:
            with self._lock:
                self.now -= 1


def test_requests_share_the_threads_that_hash_and_what_they_found(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasher = Watched()
    monkeypatch.setattr(keys, "_HASHER", hasher)
    known = [create_key(database, tenant) for tenant in ("anna", "bert")]
    verifier = KeyVerifier(database)
    with ThreadPoolExecutor(REQUESTS) as requests:
        asked = known * REQUESTS
        callers = list(requests.map(lambda key: verifier.caller(key), asked))
    assert [caller.tenant for caller in callers] == ["anna", "bert"] * REQUESTS
    assert hasher.most <= HASHES_AT_ONCE
    assert len(hasher.threads) <= HASHES_AT_ONCE
    assert len(known) <= hasher.hashes <= len(known) * HASHES_AT_ONCE
