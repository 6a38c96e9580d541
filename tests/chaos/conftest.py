"""The servers, on their ports, and a configuration that names them."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
import yaml

from spinml.config import load_config
from spinml.distributed.head import free_port
from spinml.pipeline.artifacts import PATIENCE_S, ArtifactStore
from spinml.service.app import create_app
from spinml.service.database import Database
from spinml.service.keys import create_key, create_tenant
from spinml.service.state import ServiceState, open_store
from tests.chaos import servers, stages
from tests.chaos.faulty import Faults, FaultyProxy
from tests.chaos.load import TENANTS
from tests.service.executors import checkpoint


@dataclass
class Site:
    """A folder with all data, a database, an S3 server behind a proxy, and tenants with keys."""

    folder: Path
    database_server: servers.Server
    store_server: servers.Server
    proxy: FaultyProxy
    config_file: Path
    database: Database
    keys: dict[str, str]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "executions.jsonl"

    def store(self) -> ArtifactStore:
        return open_store(load_config(self.config_file))

    def stop(self, server: servers.Server) -> None:
        """Kill what writes, so that nothing is erased while it is looked at."""
        server.kill()
        self.proxy.faults = Faults()
        self.proxy.settle()

    def dispatcher(self, patience_s: float = PATIENCE_S) -> servers.Server:
        arguments = str(self.config_file), str(patience_s)
        return servers.python("dispatcher", "tests.chaos.dispatcher", self.folder, *arguments)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's: as root, PostgreSQL runs as another user, who must be let in."""
    with tempfile.TemporaryDirectory(prefix="spinml-chaos-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def site(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name, value in {
        "AWS_ACCESS_KEY_ID": servers.KEY,
        "AWS_SECRET_ACCESS_KEY": servers.SECRET,
        "AWS_EC2_METADATA_DISABLED": "true",
        "SPINML_HOME": str(folder / "home"),
        "SPINML_CACHE_DIR": str(folder / "cache"),
        stages.LOG: str(folder / "executions.jsonl"),
        stages.LONGEST_S: "0.2",
        stages.PADDING: "20000",
    }.items():
        monkeypatch.setenv(name, value)
    database_server, url = servers.postgresql(folder)
    store_server = servers.s3(folder)
    proxy = FaultyProxy(store_server.port or 0)
    port = free_port()
    config_file = folder / "config.yaml"
    config_file.write_text(yaml.safe_dump(_config(folder, proxy.url, url, port)))
    try:
        database_server.start()
        store_server.start()
        database = Database(url)
        database.create()
        for tenant in TENANTS:
            create_tenant(database, tenant)
        keys = {tenant: create_key(database, tenant) for tenant in TENANTS}
        yield Site(folder, database_server, store_server, proxy, config_file, database, keys, port)
        database.close()
    finally:
        proxy.close()
        store_server.kill()
        database_server.kill()


def _config(folder: Path, s3: str, database: str, port: int) -> dict[str, object]:
    gpu = {"num_cpus": 0, "num_gpus": 0.5}
    light = {"num_cpus": 0}
    return {
        "checkpoint": {"base": str(checkpoint(folder / "checkpoint"))},
        "resources": {"diffusion": gpu, "generation": gpu, "training": light, "light": light},
        "store": {
            "artifacts": f"s3://{servers.BUCKET}/artifacts",
            "s3_endpoint": s3,
            "database": database,
        },
        "service": {"port": port, "max_concurrent_runs": 4},
    }


@pytest.fixture
def ingress(site: Site) -> Iterator[None]:
    """The real application behind a real HTTP server, in a thread."""
    app = create_app(ServiceState.from_config(load_config(site.config_file)))
    config = uvicorn.Config(app, host="127.0.0.1", port=site.port, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    servers.wait_for(lambda: server.started, 30, "the ingress")
    yield
    server.should_exit = True
    thread.join(10)
