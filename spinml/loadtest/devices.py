"""Simulated devices: each submits small bundles, and polls or listens until their runs are over."""

from __future__ import annotations

import random
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from spinml.device.client import Client
from spinml.device.runs import RunStatus
from spinml.errors import SpinMLError
from spinml.loadtest.bundles import bundle_of
from spinml.loadtest.samples import RecordingTransport, Samples

ATTEMPTS = 20
"""A device in a crowd is sent away more often than one at home."""
POLL_EVERY_S = (0.3, 1.0)
TELL_EVERY_S = 60.0


@dataclass(frozen=True)
class Account:
    """Whose a device is, and with which key it asks."""

    tenant: str
    key: str = field(repr=False)


@dataclass
class Outcome:
    """What became of a crowd: what it submitted, what it was told, how long that took."""

    samples: Samples = field(default_factory=Samples)
    submitted: dict[tuple[str, str], str] = field(default_factory=dict)
    """(tenant, idempotency key) → the run's id, as the first answer told it."""
    contradictions: list[str] = field(default_factory=list)
    """Idempotency keys that a second submission got another run for."""
    ended: dict[str, str] = field(default_factory=dict)
    """Run → its final state."""
    first_stage_s: list[float] = field(default_factory=list)
    """From before the submission to the event that a stage is under way."""
    errors: list[str] = field(default_factory=list)
    """Codes of what ended a device before its time."""
    seconds: float = 0.0
    """From the first request to the end of the last run."""


def client_of(url: str, account: Account, samples: Samples, verify: ssl.SSLContext) -> Client:
    """A device's own client, whose requests are timed."""
    transport = RecordingTransport(samples, verify)
    return Client(url, account.key, transport=transport, attempts=ATTEMPTS)


def listen(client: Client, run: str, began: float) -> tuple[str, float | None]:
    """Follow a run's events: its final state, and when its first stage was under way.

    Args:
        began: when its submission began, by ``time.monotonic()``; what is told counts from there.
    """
    first_stage_s = None
    for event in client.events(run):
        is_stage = event.stage is not None and event.stage.state == "running"
        if is_stage and first_stage_s is None:
            first_stage_s = time.monotonic() - began
    return client.status(run).state, first_stage_s


class Device(threading.Thread):
    """One device. Its seeds decide what it sends, and how it follows each run."""

    def __init__(
        self,
        url: str,
        account: Account,
        seeds: Sequence[int],
        name: str,
        outcome: Outcome,
        verify: ssl.SSLContext,
    ) -> None:
        """
        Args:
            seeds: one for each of its runs; no other device of the tenant has them.
            name: with what its idempotency keys begin.
            outcome: where it writes down what happens.
        """
        super().__init__(name=name, daemon=True)
        self._url, self._account, self._verify = url, account, verify
        self._seeds = seeds
        self._outcome = outcome
        self._rng = random.Random(f"{name} {seeds}")

    def run(self) -> None:
        samples = self._outcome.samples
        try:
            with client_of(self._url, self._account, samples, self._verify) as client:
                for seed in self._seeds:
                    self._one_run(client, seed)
        except SpinMLError as error:
            self._outcome.errors.append(error.code)

    def _one_run(self, client: Client, seed: int) -> None:
        bundle, key = bundle_of(seed), f"{self.name}-{seed}"
        follow = self._rng.choice((self._listen, self._poll_long, self._poll))
        began = time.monotonic()
        status = client.submit(bundle, idempotency_key=key)
        self._outcome.submitted[self._account.tenant, key] = status.id
        if self._rng.random() < 0.2:  # as if the connection had broken before the answer
            again = client.submit(bundle, idempotency_key=key)
            if again.id != status.id:
                self._outcome.contradictions.append(key)
        self._outcome.ended[status.id] = follow(client, status, began)

    def _listen(self, client: Client, status: RunStatus, began: float) -> str:
        state, first_stage_s = listen(client, status.id, began)
        if first_stage_s is not None:
            self._outcome.first_stage_s.append(first_stage_s)
        return state

    def _poll_long(self, client: Client, status: RunStatus, began: float) -> str:
        return client.wait(status.id).state

    def _poll(self, client: Client, status: RunStatus, began: float) -> str:
        while not status.is_final:
            time.sleep(self._rng.uniform(*POLL_EVERY_S))
            status = client.poll(status, wait_s=0)
        return status.state


def play(
    url: str,
    accounts: Sequence[Account],
    *,
    runs_each: int,
    timeout_s: float,
    name: str = "load",
    first_seed: int = 0,
    tell: Callable[[int], None] = lambda over: None,
) -> Outcome:
    """Let one device for each account do its runs, all at once.

    Args:
        name: begins every idempotency key, so that a second play is another one.
        first_seed: of the first device's first run; each run has the next.
        tell: is told once a minute how many runs are over.

    Raises:
        TimeoutError: devices are still at it.
    """
    outcome, verify = Outcome(), ssl.create_default_context()
    devices = [
        Device(
            url,
            account,
            range(first := first_seed + number * runs_each, first + runs_each),
            f"{name}-{number}",
            outcome,
            verify,
        )
        for number, account in enumerate(accounts)
    ]
    began = time.monotonic()
    for device in devices:
        device.start()
    _join(devices, began + timeout_s, lambda: tell(len(outcome.ended)))
    outcome.seconds = time.monotonic() - began
    late = sum(device.is_alive() for device in devices)
    if late:
        raise TimeoutError(
            f"{late} of {len(devices)} devices are not done after {timeout_s:g} s; "
            f"{len(outcome.ended)} runs are"
        )
    return outcome


def _join(devices: Sequence[Device], deadline: float, tell: Callable[[], None]) -> None:
    """Wait for the end of all, at most until ``deadline``."""
    told_at = time.monotonic()
    for device in devices:
        while device.is_alive() and (left_s := deadline - time.monotonic()) > 0:
            device.join(min(left_s, TELL_EVERY_S))
            if time.monotonic() - told_at >= TELL_EVERY_S:
                tell()
                told_at = time.monotonic()
