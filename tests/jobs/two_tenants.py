"""What :mod:`tests.jobs.test_jobs_api` runs beside its cluster.

``python -m tests.jobs.two_tenants ADDRESS DASHBOARD FOLDER`` serves two tenants on the cluster, has
both sweep by Ray's Jobs API, kills one driver, and writes ``FOLDER/figures.json``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr
from ray.job_submission import JobStatus, JobSubmissionClient

from spinml.config import ServerConfig, ServiceConfig
from spinml.device.client import Client
from spinml.distributed.cluster import connected
from spinml.service.keys import create_key, create_tenant
from spinml.service.launch import running_service
from spinml.service.state import open_database
from tests.jobs.stages import GATE
from tests.sweep.conftest import make_config, make_home, make_spec
from tests.sweep.fakes import JOURNAL, executed

ROOT = Path(__file__).parents[2]
TENANTS = ("anna", "bert")
SPACE = {"preferences": [{}, {"target": "L2"}, {"target": "L2", "background": "L2"}]}
TIMEOUT_S = 240.0


def main(address: str, dashboard: str, folder: Path) -> None:
    store = make_config(folder).store.model_copy(
        update={"database": SecretStr(f"sqlite:///{folder}/spinml.db")}
    )
    config = make_config(folder).model_copy(
        update={"store": store, "service": ServiceConfig(port=0, max_concurrent_runs=6)}
    )
    with (
        connected(address),
        running_service(
            config, execute="tests.jobs.stages:on_ray", key_path=folder / "own.key"
        ) as service,
    ):
        figures = Users(config, service.url, JobSubmissionClient(dashboard), folder).sweep()
    (folder / "figures.json").write_text(json.dumps(figures))


class Users:
    """Two people who know the dashboard's and the service's address, and have a key each."""

    def __init__(
        self, config: ServerConfig, url: str, jobs: JobSubmissionClient, folder: Path
    ) -> None:
        self.url, self.jobs, self.folder = url, jobs, folder
        database = open_database(config)
        self.keys = {}
        for tenant in TENANTS:
            create_tenant(database, tenant)
            self.keys[tenant] = create_key(database, tenant)
            (folder / f"{tenant}.key").write_text(self.keys[tenant])
        self.box = folder / "box"
        self.box.mkdir()
        spec = make_spec(make_home(folder / "home"), space=SPACE)
        (self.box / "sweep.yaml").write_text(yaml.safe_dump(spec.model_dump(mode="json")))

    def sweep(self) -> dict[str, Any]:
        """Anna from a folder with a sweep file alone, Bert from a checkout."""
        anna = self.submit("anna", "first", "-m spinml.cli sweep sweep.yaml", self.box)
        bert = self.submit("bert", "only", f"jobs/sweep.py {self.box}/sweep.yaml", ROOT)
        self.wait_for_runs(anna, bert)
        self.jobs.stop_job(anna)
        wait_for(lambda: self.jobs.get_job_status(anna) is JobStatus.STOPPED, "the driver's end")
        before = self.runs("anna")
        Path(os.environ[GATE]).touch()
        with Client(self.url, self.keys["anna"]) as client:
            for run in before:
                list(client.events(run))
            states = [client.status(run).state for run in before]
            sweep = next(client.runs("")).idempotency_key.split(".")[0]
        attached = self.submit(
            "anna", "second", f"-m spinml.cli sweep sweep.yaml --attach {sweep}", self.box
        )
        for job in (bert, attached):
            wait_for(lambda job=job: self.jobs.get_job_status(job).is_terminal(), "a job")
        return {
            "states": states,
            "jobs": [self.jobs.get_job_status(job).value for job in (bert, attached)],
            "logs": [self.jobs.get_job_logs(job)[-2000:] for job in (bert, attached)],
            "same_runs": sorted(before) == sorted(self.runs("anna")),
            "apart": not set(before) & set(self.runs("bert")),
            "rows": [self.rows("bert", "only"), self.rows("anna", "second")],
            "executed": executed(Path(os.environ[JOURNAL])),
            "keys_shown": [tenant for tenant in TENANTS if self.keys[tenant] in self.shown()],
        }

    def wait_for_runs(self, *jobs: str) -> None:
        """Until all is submitted; a driver that ends before cannot."""

        def there() -> bool:
            ended = [job for job in jobs if self.jobs.get_job_status(job).is_terminal()]
            if ended:
                raise RuntimeError(self.jobs.get_job_logs(ended[0]))
            return all(len(self.runs(tenant)) == 3 for tenant in TENANTS)

        wait_for(there, "six runs")

    def submit(self, tenant: str, out: str, command: str, working_dir: Path) -> str:
        options = f"--server {self.url} --key-file {self.folder}/{tenant}.key"
        found = self.jobs.submit_job(
            entrypoint=f"{sys.executable} {command} {options} --out {self.folder}/{tenant}/{out}",
            runtime_env={"working_dir": str(working_dir)},
        )
        return str(found)

    def runs(self, tenant: str) -> list[str]:
        with Client(self.url, self.keys[tenant]) as client:
            return [run.id for run in client.runs("")]

    def rows(self, tenant: str, out: str) -> Sequence[tuple[str, float]]:
        path = self.folder / tenant / out / "cats" / "results.json"
        trials = json.loads(path.read_text())["trials"] if path.is_file() else []
        return [(trial["label"], trial["utility"]) for trial in trials]

    def shown(self) -> str:
        """What the dashboard tells of the jobs, with their logs."""
        jobs = self.jobs.list_jobs()
        logs = [self.jobs.get_job_logs(job.submission_id) for job in jobs if job.submission_id]
        return "\n".join([*map(str, jobs), *logs])


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} after {TIMEOUT_S} s")
        time.sleep(0.5)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
