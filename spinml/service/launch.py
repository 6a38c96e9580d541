"""Starting and stopping the service on this machine, or on a cluster that is there."""

from __future__ import annotations

import logging
import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import ray
from ray import serve
from ray.serve.config import HTTPOptions

from spinml.config import ServerConfig
from spinml.device.key import key_file
from spinml.distributed.cluster import connect
from spinml.distributed.head import free_port
from spinml.errors import ConflictError
from spinml.service.database import Database
from spinml.service.keys import create_key, create_tenant, list_keys, list_tenants
from spinml.service.serve import EXECUTE_ON_RAY, application
from spinml.service.state import ServiceState

DEFAULT_TENANT = "default"
APPLICATION = "spinml"
WATCH_EVERY_S = 5.0
SILENCE_S = 60.0
"""Longer than Serve needs to start a replica or a proxy anew."""
EXIT_SILENT = 75
"""EX_TEMPFAIL: to be started again."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunningService:
    """Where the service answers, and with which key."""

    url: str
    key: str | None = field(repr=False)
    """See :func:`own_key`."""


@contextmanager
def running_service(
    config: ServerConfig,
    *,
    address: str | None = None,
    num_cpus: int | None = None,
    num_gpus: int | None = None,
    execute: str = EXECUTE_ON_RAY,
    key_path: Path | None = None,
) -> Iterator[RunningService]:
    """Deploy the service, yield where it is, take it down again.

    Connects to Ray unless this process is connected, and then ends that connection, too.

    Args:
        address: of a Ray cluster; None starts one on this machine.
        num_cpus, num_gpus: of the cluster on this machine.
        execute: import path of what makes the dispatcher's executor.
        key_path: where this machine's key lies; None: :func:`spinml.device.key.key_file`.

    Raises:
        SpinMLError: the cluster, database, store or checkpoint is not there.
    """
    key = own_key(ServiceState.from_config(config).database, key_path or key_file())
    port = config.service.port or free_port()
    is_ours = not ray.is_initialized()
    if is_ours:
        connect(address, num_cpus=num_cpus, num_gpus=num_gpus)
    try:
        serve.start(
            proxy_location="HeadOnly",
            http_options=HTTPOptions(host=config.service.host, port=port),
        )
        serve.run(application(config, execute), name=APPLICATION, route_prefix="/")
        yield RunningService(f"http://{config.service.host}:{port}", key)
    finally:
        if address is None:
            serve.shutdown()
        else:  # others may serve there, too
            serve.delete(APPLICATION)
        if is_ours:
            ray.shutdown()


def serve_forever(
    config: ServerConfig,
    *,
    address: str | None = None,
    num_cpus: int | None = None,
    num_gpus: int | None = None,
    execute: str = EXECUTE_ON_RAY,
    announce: Callable[[RunningService], None] = lambda service: None,
) -> None:
    """Serve until SIGINT or SIGTERM; stages under way are left to the next start.

    Serve starts replicas, proxies and its controller anew; where Ray itself has died, this process
    ends, for a supervisor to start it again.

    Args:
        execute: import path of what makes the dispatcher's executor.
        announce: told when the service answers.

    Raises:
        SpinMLError: see :func:`running_service`.
    """
    ended = threading.Event()
    with running_service(
        config, address=address, num_cpus=num_cpus, num_gpus=num_gpus, execute=execute
    ) as service:
        for number in (signal.SIGINT, signal.SIGTERM):  # now: connecting, Ray sets its own
            signal.signal(number, lambda *_: ended.set())
        announce(service)
        _end_when_silent(service, ended)


def _end_when_silent(service: RunningService, ended: threading.Event) -> None:
    """Wait for ``ended``; end the process at once when nothing has answered for too long."""
    answered_at = time.monotonic()
    while not ended.wait(WATCH_EVERY_S):
        try:
            httpx.get(f"{service.url}/healthz", timeout=WATCH_EVERY_S).raise_for_status()
        except httpx.HTTPError:
            if time.monotonic() - answered_at > SILENCE_S:
                _log.critical("the service has not answered for %d s: ending", SILENCE_S)
                os._exit(EXIT_SILENT)  # taking down what does not answer may never end
        else:
            answered_at = time.monotonic()


def own_key(database: Database, path: Path) -> str | None:
    """The key of this machine's own tenant, from its file ``path``; made at the first start.

    None: the tenant was deleted, and others may be served all the same.
    """
    if DEFAULT_TENANT not in {tenant.id for tenant in list_tenants(database)}:
        try:
            create_tenant(database, DEFAULT_TENANT)
        except ConflictError:
            return None
    if path.exists():
        key = path.read_text(encoding="ascii").strip()
        usable = {row.id for row in list_keys(database, DEFAULT_TENANT) if row.revoked_at is None}
        if key.split("_")[1:2] and key.split("_")[1] in usable:
            return key
    key = create_key(database, DEFAULT_TENANT, label="this machine")
    _write_private(path, key)
    return key


def _write_private(path: Path, text: str) -> None:
    """Write a file that nobody else may read, not even for a moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    mode = stat.S_IRUSR | stat.S_IWUSR
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text + "\n")
