"""A disk without room: a worker's, and the S3 server's.

Room is taken and given by the limit on the size of files that a process writes (RLIMIT_FSIZE),
which needs no privileges, so that it runs everywhere; the kernel answers EFBIG in place of ENOSPC.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path

import pytest

from spinml.device.client import Client
from spinml.device.runs import RunStatus
from spinml.pipeline.stages import StageKind
from tests.chaos.conftest import Site
from tests.chaos.load import bundle

TENANT, ROOM_BYTES = "anna", 10_000
"""Segments fit in, artifacts of stages do not."""


def limit(pid: int, most_bytes: int) -> None:
    """The soft limit alone, so that it can be lifted."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))


def run_to_its_end(client: Client, key: str) -> RunStatus:
    run, deadline = client.submit(bundle(TENANT, 0), idempotency_key=key).id, time.monotonic() + 90
    while not (status := client.status(run)).is_final:
        assert time.monotonic() < deadline, status
        time.sleep(0.2)
    return status


@pytest.mark.usefixtures("ingress")
@pytest.mark.parametrize(
    ("whose", "code"), [("worker", "storage_full"), ("store", "store_unavailable")]
)
def test_a_full_disk_fails_the_run_and_leaves_nothing_half_written(
    site: Site, whose: str, code: str
) -> None:
    dispatcher = site.dispatcher(patience_s=3)
    dispatcher.start()
    pid = dispatcher.pid if whose == "worker" else site.store_server.pid
    store = site.store()
    try:
        with Client(site.url, site.keys[TENANT], attempts=20) as client:
            limit(pid, ROOM_BYTES)
            status = run_to_its_end(client, "first")
            assert (status.state, (status.error or {}).get("code")) == ("failed", code)
            assert all(key.kind is StageKind.SEGMENT for key in store.list_keys(TENANT))
            limit(pid, resource.RLIM_INFINITY)
            assert run_to_its_end(client, "second").state == "succeeded"
    finally:
        site.stop(dispatcher)
    for key in store.list_keys(TENANT):
        store.fetch(key, Path(site.folder) / "all" / key.path)
