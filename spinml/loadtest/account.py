"""Whether what a crowd of devices did is what the server has: nothing lost, nothing twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from spinml.device.client import Client
from spinml.loadtest.devices import Account, Outcome
from spinml.service.database import Database
from spinml.service.models import Event, RunState, StageState

SUCCEEDED = RunState.SUCCEEDED.value


@dataclass(frozen=True)
class Books:
    """What does not agree; nothing where all does."""

    runs: int
    """That the devices submitted."""
    lost: tuple[str, ...]
    """Idempotency keys whose run the server does not have, or has another for."""
    duplicated: tuple[str, ...]
    """Idempotency keys with more runs than one, or that no device sent."""
    unfinished: tuple[str, ...]
    """Runs that did not succeed, or whose device was not told so."""
    errors: tuple[str, ...]
    """Codes of what ended devices before their time."""

    @property
    def balanced(self) -> bool:
        return not (self.lost or self.duplicated or self.unfinished or self.errors)


def compare(url: str, accounts: Iterable[Account], outcome: Outcome, name: str = "load") -> Books:
    """Ask the server for each tenant's runs, and hold them against what the devices know.

    Args:
        name: as given to :func:`spinml.loadtest.devices.play`.
    """
    has: dict[str, tuple[str, str]] = {}
    succeeded: set[str] = set()
    for account in {account.tenant: account for account in accounts}.values():
        with Client(url, account.key) as client:
            for run in client.runs(f"{name}-"):
                has[run.id] = account.tenant, run.idempotency_key
                if run.state == SUCCEEDED:
                    succeeded.add(run.id)
    times = Counter(has.values())
    told = {run for run, state in outcome.ended.items() if state == SUCCEEDED}
    lost = [sent for sent, run in outcome.submitted.items() if has.get(run) != sent]
    unknown = [sent for sent in times if times[sent] > 1 or sent not in outcome.submitted]
    return Books(
        runs=len(outcome.submitted),
        lost=tuple(key for _, key in lost),
        duplicated=(*(key for _, key in unknown), *outcome.contradictions),
        unfinished=tuple(set(outcome.submitted.values()) - (succeeded & told)),
        errors=tuple(outcome.errors),
    )


def executed_twice(database: Database) -> int:
    """How many runs were begun, or had a stage done, more than once: none, where nobody died."""
    with database.read() as session:
        events = session.execute(select(Event.run_id, Event.kind, Event.data)).all()
    begun = Counter(
        (run_id, _what(kind, data))
        for run_id, kind, data in events
        if _what(kind, data) is not None
    )
    return len({run_id for (run_id, _), count in begun.items() if count > 1})


def _what(kind: str, data: dict[str, Any]) -> str | None:
    """The begin of a run or the end of a stage, by name; None of other events."""
    if kind == "state":
        return str(RunState.RUNNING) if data["state"] == RunState.RUNNING else None
    return str(data["stage"]["label"]) if data["stage"]["state"] == StageState.DONE else None
