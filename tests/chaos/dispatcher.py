"""``python -m tests.chaos.dispatcher CONFIG PATIENCE_S``: the real dispatcher, without Ray."""

from __future__ import annotations

import logging
import sys
import threading
from pathlib import Path

from spinml.config import load_config
from spinml.distributed.caches import evict_here
from spinml.loadtest.executor import InProcess
from spinml.service.dispatcher import Dispatcher
from spinml.service.state import open_database, open_store
from tests.chaos import stages

LEASE_S = 2.0


def main(path: str, patience_s: str) -> None:
    logging.basicConfig(level=logging.INFO)
    config = load_config(Path(path))
    store = open_store(config, float(patience_s))
    dispatcher = Dispatcher(
        open_database(config),
        store,
        InProcess(config, store, stages.run),
        evict_here,
        retention=config.service.retention,
        max_concurrent_runs=config.service.max_concurrent_runs,
        lease_s=LEASE_S,
        poll_s=0.1,
    )
    dispatcher.start()
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
