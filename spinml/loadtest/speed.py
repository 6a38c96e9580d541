"""Requests a second and their latency, of one server beside another, measured in turns."""

from __future__ import annotations

import itertools
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx

from spinml.loadtest.bundles import bundle_of
from spinml.loadtest.devices import Account, client_of, listen
from spinml.loadtest.samples import Latency, Samples, latency

_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Speed:
    """Of one server under a number of devices that ask as fast as they are answered."""

    server: str
    devices: int
    requests_per_s: float
    latency: Latency


def compare_speeds(
    servers: Mapping[str, str],
    accounts: Sequence[Account],
    counts: Sequence[int],
    *,
    seconds: float,
    turns: int = 2,
) -> list[Speed]:
    """Ask each of ``servers`` (name → URL), which have one database, for the state of a run.

    Every other question has the ETag of the answer before it (304).

    Args:
        counts: numbers of devices; as many accounts as the largest are needed.
        seconds: of one turn.
    """
    runs = _one_run_each(next(iter(servers.values())), accounts)
    speeds = []
    for count in counts:
        taken: dict[str, list[float]] = defaultdict(list)
        lasted: dict[str, float] = defaultdict(float)
        for name, url in itertools.islice(itertools.cycle(servers.items()), turns * len(servers)):
            answered, turn_s = ask(url, accounts[:count], runs, seconds)
            taken[name] += answered
            lasted[name] += turn_s
        speeds += [
            Speed(name, count, len(taken[name]) / lasted[name], latency(taken[name]))
            for name in servers
        ]
    return speeds


def first_stages(url: str, account: Account, count: int) -> list[float]:
    """Seconds from a submission to the event that its first stage is under way, of ``count`` runs
    of one device, one after the other."""
    taken, verify = [], ssl.create_default_context()
    with client_of(url, account, Samples(), verify) as client:
        for number in range(count):
            bundle, began = bundle_of(2 * 10**6 + number), time.monotonic()
            run = client.submit(bundle, idempotency_key=f"first-stage-{number}")
            _, first_stage_s = listen(client, run.id, began)
            if first_stage_s is None:
                raise RuntimeError("a run ended without a stage that was executed")
            taken.append(first_stage_s)
    return taken


def _one_run_each(url: str, accounts: Sequence[Account]) -> dict[str, str]:
    """Tenant → the id of a run of it, over."""
    verify, runs = ssl.create_default_context(), {}
    for number, account in enumerate({a.tenant: a for a in accounts}.values()):
        with client_of(url, account, Samples(), verify) as client:
            run = client.submit(bundle_of(10**6 + number), idempotency_key="speed")
            runs[account.tenant] = client.wait(run.id).id
    return runs


def ask(
    url: str, accounts: Sequence[Account], runs: Mapping[str, str], seconds: float
) -> tuple[list[float], float]:
    """Seconds of each answer to devices that ask for ``seconds``, and how long that took in all.

    Raises:
        RuntimeError: an answer was neither 200 nor 304, or none came.
    """
    taken: list[list[float]] = [[] for _ in accounts]
    wrong: list[str] = []
    ready = threading.Barrier(len(accounts) + 1)
    verify = ssl.create_default_context()

    def device(number: int) -> None:
        account = accounts[number]
        path = f"/v1/runs/{runs[account.tenant]}"
        headers = {"Authorization": f"Bearer {account.key}"}
        with httpx.Client(
            base_url=url, headers=headers, verify=verify, timeout=_TIMEOUT_S
        ) as client:
            try:
                etag = _checked(client.get(path)).headers["ETag"]  # the key is checked, too
                ready.wait(_TIMEOUT_S)
                ends_at = time.perf_counter() + seconds
                for known in itertools.cycle(({}, {"If-None-Match": etag})):
                    began = time.perf_counter()
                    if began > ends_at:
                        break
                    _checked(client.get(path, headers=known))
                    taken[number].append(time.perf_counter() - began)
            except (httpx.HTTPError, RuntimeError, threading.BrokenBarrierError) as error:
                wrong.append(str(error) or type(error).__name__)
                ready.abort()

    threads = [threading.Thread(target=device, args=(n,), daemon=True) for n in range(len(taken))]
    for thread in threads:
        thread.start()
    try:
        ready.wait(_TIMEOUT_S)
    except threading.BrokenBarrierError:
        raise RuntimeError(f"the devices could not begin: {wrong[:1]}") from None
    began = time.perf_counter()
    for thread in threads:
        thread.join(seconds + _TIMEOUT_S)
    if wrong:
        raise RuntimeError(f"{len(wrong)} of {len(threads)} devices failed: {wrong[0]}")
    return list(itertools.chain.from_iterable(taken)), time.perf_counter() - began


def _checked(response: httpx.Response) -> httpx.Response:
    if response.status_code not in (200, 304):
        raise RuntimeError(f"an answer was {response.status_code}")
    return response
