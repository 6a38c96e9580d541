"""The service on Ray Serve: an ingress that answers, and a dispatcher that Serve keeps alive.

``serve run spinml.service.serve:build config=cluster/laptop.yaml`` or a RayService's
``import_path`` start it on a cluster; :mod:`spinml.service.launch` does on a laptop.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict
from ray import serve
from ray.serve.config import AutoscalingConfig, BackpressureConfig
from starlette.types import ASGIApp

from spinml import logs
from spinml.config import ServerConfig, ServiceConfig, load_config
from spinml.distributed.caches import evict_everywhere
from spinml.distributed.cluster import cluster_use
from spinml.distributed.executor import Executor
from spinml.distributed.operations import load
from spinml.pipeline.artifacts import ArtifactStore
from spinml.service.answers import RETRY_AFTER_S
from spinml.service.app import create_app
from spinml.service.dispatcher import Dispatcher
from spinml.service.state import ServiceState, open_database, open_store
from spinml.service.watch import Watch
from spinml.service.work import Execute

ExecuteFactory = Callable[[ServerConfig, ArtifactStore], Execute]
EXECUTE_ON_RAY = "spinml.service.serve:execute_on_ray"
_NO_CORE = {"num_cpus": 0}
"""Replicas wait for others most of the time: the cores are the stages'."""
_SENDING = 200
"""Answers that are being sent, such as downloads; room for them beside requests and listeners."""
_LEAST_LOOK_BACK_S = 15.0
"""Longer than the 10 s between two measurements of a replica."""


class ServeArgs(BaseModel):
    """Arguments of :func:`build`."""

    model_config = ConfigDict(extra="forbid")

    config: Path | None = None
    """A configuration file that every node can read; None takes the defaults."""
    execute: str = EXECUTE_ON_RAY
    """Import path of an :data:`ExecuteFactory`."""


def build(args: ServeArgs) -> serve.Application:
    """The Serve application of a configuration file.

    Raises:
        ConfigError: the file cannot be read or is not valid.
    """
    return application(load_config(args.config), args.execute)


def application(config: ServerConfig, execute: str = EXECUTE_ON_RAY) -> serve.Application:
    """The Serve application of a configuration."""
    # mypy does not see that the decorators below make Deployments of the classes.
    # Serve logs as we do; the ingress' access log stays off, for the metrics count requests.
    encoding = "JSON" if config.logs.format == "json" else "TEXT"
    dispatcher = cast(serve.Deployment, DispatcherDeployment).options(
        logging_config={"encoding": encoding}
    )
    ingress = cast(serve.Deployment, Ingress).options(
        logging_config={"encoding": encoding, "enable_access_log": False},
        **_scaling(config.service),
    )
    return cast(serve.Application, ingress.bind(config, dispatcher.bind(config, execute)))


def _scaling(service: ServiceConfig) -> dict[str, Any]:
    """How many ingress replicas there are, and how much each is given.

    A replica sends away what is too much for it itself, and names the reason
    (:mod:`spinml.service.admission`). Serve gives it more than that, and sends away only what comes
    while all replicas are full or starting.
    """
    load = service.load
    return {
        "max_ongoing_requests": load.max_requests + load.max_listeners + _SENDING,
        "max_queued_requests": load.max_queued_requests,
        "backpressure_config": BackpressureConfig(status_code=503, retry_after_s=RETRY_AFTER_S),
        "autoscaling_config": AutoscalingConfig(
            min_replicas=service.replicas,
            max_replicas=service.max_replicas,
            target_ongoing_requests=load.target_ongoing_requests,
            upscale_delay_s=load.upscale_delay_s,
            downscale_delay_s=load.downscale_delay_s,
            look_back_period_s=max(_LEAST_LOOK_BACK_S, load.upscale_delay_s),
        ),
    }


def execute_on_ray(config: ServerConfig, store: ArtifactStore) -> Execute:
    """Stages on the cluster's actors."""
    return Executor(config, store).run


@serve.deployment(name="ingress", ray_actor_options=_NO_CORE)
@serve.ingress()
class Ingress:
    """Answers HTTP. It holds the dispatcher's handle only so that both are deployed together."""

    def __init__(self, config: ServerConfig, dispatcher: Any) -> None:
        self._config = config
        self._dispatcher = dispatcher

    def __serve_build_asgi_app__(self) -> ASGIApp:
        logs.configure(self._config.logs.level, self._config.logs.format)
        return create_app(ServiceState.from_config(self._config))


@serve.deployment(
    name="dispatcher",
    ray_actor_options=_NO_CORE,
    health_check_period_s=5,
    graceful_shutdown_timeout_s=20,
)
class DispatcherDeployment:
    """Carries out runs. A replica that dies is started anew, and adopts what it had begun."""

    def __init__(self, config: ServerConfig, execute: str) -> None:
        logs.configure(config.logs.level, config.logs.format)
        database, store = open_database(config), open_store(config)
        factory: ExecuteFactory = load(execute)
        self._dispatcher = Dispatcher(
            database,
            store,
            factory(config, store),
            evict_everywhere,
            retention=config.service.retention,
            max_concurrent_runs=config.service.max_concurrent_runs,
        )
        self._dispatcher.start()
        self._watch = Watch(database, store, self._dispatcher.owner, cluster_use)
        self._watch.start()

    def check_health(self) -> None:
        """Serve asks this, and replaces a replica that raises."""
        if not self._dispatcher.is_alive:
            raise RuntimeError("the dispatcher's loop has ended")

    def __del__(self) -> None:
        """Serve calls this when it shuts a replica down."""
        for part in (getattr(self, "_watch", None), getattr(self, "_dispatcher", None)):
            if part is not None:
                part.stop(timeout_s=10)
