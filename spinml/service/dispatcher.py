"""The dispatcher: takes queued runs, adopts abandoned ones, carries them out, keeps the policy."""

from __future__ import annotations

import logging
import math
import threading
import time
import uuid
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from spinml.config import RetentionConfig
from spinml.errors import SpinMLError
from spinml.logs import bound
from spinml.pipeline.artifacts import ArtifactStore
from spinml.service import metrics
from spinml.service.database import Database
from spinml.service.erasure import Evict, finish_erasures, take_stock
from spinml.service.heartbeats import BEAT_EVERY_S, beat, sign_off
from spinml.service.leases import claim_run, renew_leases
from spinml.service.retention import erase_orphans, keep_policy
from spinml.service.work import Execute, RunWork

_log = logging.getLogger(__name__)
TIDY_EVERY_S = 3600.0
KEEP_POLICY_EVERY_S = 5.0


class Dispatcher:
    """A loop in a thread, one for retention, and a thread for each run under way.

    Any number may share a database: a run is carried out by the one that holds its lease. Stages
    that are in the store are not done again, so an adopted run goes on where it was.
    """

    def __init__(
        self,
        database: Database,
        store: ArtifactStore,
        execute: Execute,
        evict: Evict,
        *,
        retention: RetentionConfig = RetentionConfig(),  # noqa: B008 - it is frozen
        max_concurrent_runs: int = 1,
        lease_s: float = 15.0,
        poll_s: float = 0.5,
    ) -> None:
        """
        Args:
            execute: carries out one plan.
            evict: erases artifacts from every node's cache.
            retention: how long things are kept.
            lease_s: how long a run stays with a dispatcher that says nothing.
            poll_s: how often to look for runs and cancellations.
        """
        self.owner = uuid.uuid4().hex
        """Names this dispatcher in its heartbeats."""
        self._database = database
        self._store = store
        self._execute = execute
        self._evict = evict
        self._retention = retention
        self._max_concurrent_runs = max_concurrent_runs
        self._lease_s = lease_s
        self._poll_s = min(poll_s, lease_s / 4)
        self._works: list[RunWork] = []
        self._stopping = threading.Event()
        self._tidied_at: float | None = None
        self._beaten_at = -math.inf
        self._thread = threading.Thread(target=self._loop, name="dispatcher", daemon=True)
        self._keeper = threading.Thread(target=self._keep, name="retention", daemon=True)

    def start(self) -> None:
        """Begin.

        Raises:
            SQLAlchemyError: the database cannot be reached.
        """
        self._beat()
        self._thread.start()
        self._keeper.start()

    def stop(self, timeout_s: float = 30.0) -> None:
        """Take no more runs, end the stages under way, and leave their runs to be adopted."""
        self._stopping.set()
        self._thread.join(timeout_s)
        self._keeper.join(timeout_s)
        for work in self._works:
            work.release()
        deadline = time.monotonic() + timeout_s
        for work in self._works:
            work.thread.join(max(0.0, deadline - time.monotonic()))
        try:
            sign_off(self._database, self.owner)
        except SQLAlchemyError as error:  # its heartbeat grows old instead
            _log.warning("dispatcher: ends without signing off: %s", type(error).__name__)

    @property
    def is_alive(self) -> bool:
        """Whether the loop turns."""
        return self._thread.is_alive() and self._keeper.is_alive()

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                self._beat()
                self._attend()
                self._take()
            except (SQLAlchemyError, SpinMLError) as error:
                _log.warning("dispatcher: tries again after %s", type(error).__name__)
            self._stopping.wait(self._poll_s)

    def _beat(self) -> None:
        """Say now and then that this dispatcher works."""
        if time.monotonic() - self._beaten_at >= BEAT_EVERY_S:
            beat(self._database, self.owner)
            self._beaten_at = time.monotonic()

    def _attend(self) -> None:
        """Keep the leases of the runs under way, and see who asked to cancel."""
        self._works = [work for work in self._works if work.thread.is_alive()]
        owners = {work.claim.run_id: work.owner for work in self._works}
        held = renew_leases(self._database, owners, self._lease_s)
        for work in self._works:
            asked = held.get(work.claim.run_id)
            if asked is None or owners[work.claim.run_id] != work.owner:
                work.abandon()
            elif asked:
                work.cancel()

    def _take(self) -> None:
        """Begin runs while there is room."""
        while len(self._works) < self._max_concurrent_runs and not self._stopping.is_set():
            # An owner for each claim: a run that this dispatcher lost and takes up again is not
            # written to by the work that it abandoned.
            owner = uuid.uuid4().hex
            claim = claim_run(self._database, owner, self._lease_s)
            if claim is None:
                return
            if not claim.adopted:
                metrics.run_begun(claim.queued_s)
            with bound(run=str(claim.run_id)):
                _log.info("run %s", "adopted" if claim.adopted else "begun")
            work = RunWork(self._database, self._store, owner, claim, self._execute)
            self._works.append(work)
            work.thread.start()

    def _keep(self) -> None:
        """Erase what is not kept: beside the loop, for a slow store must not cost a lease."""
        at = self._database, self._store, self._evict
        while not self._stopping.is_set():
            for step in (
                partial(finish_erasures, *at),
                self._tidy,
                partial(keep_policy, *at, self._retention),
            ):
                try:
                    step()
                except (SQLAlchemyError, SpinMLError) as error:  # the others are done all the same
                    _log.warning("retention: tries again after %s", type(error).__name__)
            self._stopping.wait(KEEP_POLICY_EVERY_S)

    def _tidy(self) -> None:
        """Now and then, find what submissions and stages that crashed have left."""
        if self._tidied_at is None or time.monotonic() - self._tidied_at > TIDY_EVERY_S:
            take_stock(self._database, self._store)
            erase_orphans(self._database, self._store, self._evict)
            self._tidied_at = time.monotonic()
