"""The one reader that sets the gauges: what the database says, and what can be reached."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from spinml.pipeline.artifacts import ArtifactStore
from spinml.service import metrics
from spinml.service.database import Database
from spinml.service.health import Check, Readiness
from spinml.service.heartbeats import ClusterUse, note_cluster
from spinml.service.overview import overview

LOOK_EVERY_S = 10.0
_log = logging.getLogger(__name__)


class Watch:
    """A thread that looks every few seconds, beside a dispatcher."""

    def __init__(
        self,
        database: Database,
        store: ArtifactStore,
        owner: str,
        cluster_use: Callable[[], ClusterUse],
        every_s: float = LOOK_EVERY_S,
    ) -> None:
        """
        Args:
            owner: the dispatcher with whose heartbeat the cluster's use is written down.
            cluster_use: asks the cluster for it.
        """
        self._database = database
        self._owner = owner
        self._cluster_use = cluster_use
        self._every_s = every_s
        self._readiness = Readiness(
            (Check("database", database.check), Check("store", store.probe))
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="watch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End after the look that is under way."""
        self._stopping.set()
        self._thread.join(timeout_s)

    def look(self) -> None:
        """Set every gauge once.

        Raises:
            SQLAlchemyError: the database went away in the middle of it.
        """
        failed = self._readiness.failed()
        metrics.show_up(metrics.DATABASE_UP, "database" not in failed)
        metrics.show_up(metrics.STORE_UP, "store" not in failed)
        for name, wrong in failed.items():
            _log.warning("watch: %s: %s", name, wrong)
        if "database" not in failed:
            metrics.show(overview(self._database))
            note_cluster(self._database, self._owner, self._cluster_use())

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - database or Ray may be away; watching goes on
                _log.warning("watch: looks again after %s", type(error).__name__)
            self._stopping.wait(self._every_s)
