"""The service's processes on this machine: what memory each holds, and killing one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import psutil

TITLES = {
    "ingress replica": "ray::ServeReplica:spinml:ingress",
    "dispatcher": "ray::ServeReplica:spinml:dispatcher",
    "controller": "ray::ServeController",
    "proxy": "ray::ProxyActor",
}
"""With what the title of each of Serve's actors begins."""


WORKING = "ray::StageWorker.execute"
"""The title of an actor while it executes a stage."""


@dataclass(frozen=True)
class Memory:
    """In MiB: resident, and of that what nobody else shares."""

    rss_mib: float
    uss_mib: float


def service_processes() -> Mapping[str, list[psutil.Process]]:
    """What :data:`TITLES` names → its processes, among the descendants of this one.

    Raises:
        LookupError: there is none of a kind.
    """
    found: dict[str, list[psutil.Process]] = {name: [] for name in TITLES}
    for process in psutil.Process().children(recursive=True):
        title = _title(process)
        for name, begin in TITLES.items():
            if title.startswith(begin):
                found[name].append(process)
    absent = [name for name, processes in found.items() if not processes]
    if absent:
        raise LookupError(f"no process of the service is its {' or '.join(absent)}")
    return found


def memory() -> Mapping[str, Memory]:
    """Each kind of process → its memory; of several, of the largest."""
    by_kind = {}
    for name, processes in service_processes().items():
        taken = [process.memory_full_info() for process in processes]
        largest = max(taken, key=lambda info: info.uss)
        by_kind[name] = Memory(largest.rss / 2**20, largest.uss / 2**20)
    return by_kind


def kill(name: str) -> None:
    """SIGKILL to every process of a kind."""
    for process in service_processes()[name]:
        process.kill()


def kill_worker(timeout_s: float = 60) -> int:
    """SIGKILL to an actor that executes a stage just now; its process id.

    Raises:
        TimeoutError: none does.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        for process in psutil.Process().children(recursive=True):
            if _title(process).startswith(WORKING):
                process.kill()
                return int(process.pid)
        time.sleep(0.02)
    raise TimeoutError(f"no stage was under way within {timeout_s:g} s")


def workers() -> set[int]:
    """The actors that execute a stage just now, by process id."""
    ours = psutil.Process().children(recursive=True)
    return {process.pid for process in ours if _title(process).startswith(WORKING)}


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def wait_for(what: Callable[[], bool], timeout_s: float, name: str, every_s: float = 0.05) -> float:
    """Seconds until ``what`` came true.

    Raises:
        TimeoutError: it did not; names ``name``.
    """
    began = time.monotonic()
    while not what():
        if time.monotonic() - began > timeout_s:
            raise TimeoutError(f"{name} did not come within {timeout_s:g} s")
        time.sleep(every_s)
    return time.monotonic() - began
