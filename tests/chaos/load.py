"""Twenty small runs of four tenants, each sent and followed by a device of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from spinml.bundle import SanitizedBundle
from spinml.device.client import Client
from spinml.device.runs import RunStatus
from spinml.errors import SpinMLError
from tests.chaos.stages import BROKEN
from tests.service import bundles

TENANTS = ("anna", "bert", "cleo", "dora")
RUNS_EACH = 5
PATIENCE = 40
"""Attempts of a request, up to 30 s apart: the head is away for minutes."""


def bundle(tenant: str, run: int) -> SanitizedBundle:
    """Runs 0 to 2 share their fine-tuning; 3 shares nothing; 4 cannot succeed."""
    seed = TENANTS.index(tenant)
    photos = 2 if run == 3 else 0
    images = tuple(bundles.cut_out(10 * seed + photos + n) for n in range(2))
    labels = [BROKEN, "sleeping"] if run == RUNS_EACH - 1 else ["sitting", "sleeping"]
    per_class = 4 * (1 + run % 3)
    return bundles.bundle(
        images=images, seed=seed, label_classes=labels, images_per_class=per_class
    )


@dataclass
class Device:
    """One tenant's device: submits its runs and follows them to their ends."""

    tenant: str
    url: str
    key: str
    timeout_s: float
    ended: dict[int, RunStatus] = field(default_factory=dict)
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._work, name=self.tenant, daemon=True)

    def _work(self) -> None:
        try:
            self._submit_and_follow()
        except SpinMLError as error:
            self.error = error

    def _submit_and_follow(self) -> None:
        deadline = time.monotonic() + self.timeout_s
        with Client(self.url, self.key, attempts=PATIENCE, pause_s=0.25) as client:
            runs = {n: client.submit(bundle(self.tenant, n)).id for n in range(RUNS_EACH)}
            while len(self.ended) < len(runs) and time.monotonic() < deadline:
                for n in runs.keys() - self.ended.keys():
                    status = client.status(runs[n])
                    if status.is_final:
                        self.ended[n] = status
                time.sleep(0.3)


def start_devices(
    url: str, keys: dict[str, str], timeout_s: float, tenants: Sequence[str] = TENANTS
) -> list[Device]:
    devices = [Device(tenant, url, keys[tenant], timeout_s) for tenant in tenants]
    for device in devices:
        device.thread.start()
    return devices


def finish(devices: Iterable[Device]) -> None:
    """Wait for the load's end."""
    for device in devices:
        device.thread.join(device.timeout_s)
