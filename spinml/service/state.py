"""What the endpoint works with, made once per process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spinml.bundle import SanitizedBundle
from spinml.config import ServerConfig
from spinml.distributed.caches import evict_everywhere
from spinml.errors import ArtifactError, StoreUnavailableError
from spinml.pipeline.artifacts import ANSWER_PATIENCE_S, PATIENCE_S, ArtifactStore
from spinml.pipeline.plan import Plan
from spinml.pipeline.planner import make_plan
from spinml.pipeline.scratch import sweep
from spinml.service.database import Database
from spinml.service.erasure import Evict
from spinml.service.keys import KeyVerifier
from spinml.service.rates import RateLimiter
from spinml.synthesis.identity import checkpoint_identity

Planner = Callable[[SanitizedBundle], Plan]


@dataclass(frozen=True)
class ServiceState:
    """The parts behind the routes; tests put their own together."""

    config: ServerConfig
    database: Database
    store: ArtifactStore
    keys: KeyVerifier
    planner: Planner
    evict: Evict
    rates: RateLimiter

    @classmethod
    def from_config(cls, config: ServerConfig) -> ServiceState:
        """Connect to what ``config`` names, where no killed process's submissions lie any more.

        Raises:
            ConfigError, CheckpointError, ArtifactError: which part is missing.
            DatabaseUnavailableError, StoreUnavailableError, RateStoreUnavailableError: which
                cannot be reached.
        """
        sweep()
        database = open_database(config)
        checkpoint_id = checkpoint_identity(config.checkpoint)

        def planner(bundle: SanitizedBundle) -> Plan:
            return make_plan(bundle.request, bundle.segments, config, checkpoint_id)

        store = open_store(config, ANSWER_PATIENCE_S)
        check_store(store)
        return cls(
            config=config,
            database=database,
            store=store,
            keys=KeyVerifier(database),
            planner=planner,
            evict=evict_everywhere,
            rates=RateLimiter.from_config(config.service.rates),
        )


def open_database(config: ServerConfig) -> Database:
    """The database of ``config``, with its tables.

    Raises:
        ConfigError, ServerUnavailableError, SchemaVersionError: see :class:`Database`.
    """
    database = Database(config.store.database_url())
    database.create()
    return database


def open_store(config: ServerConfig, patience_s: float = PATIENCE_S) -> ArtifactStore:
    """The artifact store of ``config``, which waits ``patience_s`` seconds for one that is away."""
    return ArtifactStore.from_url(config.store.artifacts, config.store.s3_endpoint, patience_s)


def check_store(store: ArtifactStore) -> None:
    """See whether the store takes a file and gives it back.

    Raises:
        StoreUnavailableError: it does not.
    """
    try:
        store.probe()
    except ArtifactError as error:
        raise StoreUnavailableError(
            f"the artifact store cannot be used: {error.message}",
            remedy="try again later; the operator finds it by /readyz and store.artifacts",
        ) from None
