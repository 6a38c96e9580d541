"""Sweeps as runs of a service: two tenants at once, killed drivers, attaching, stopping."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import MagicMock

import pytest
import ray
import yaml
from typer.testing import CliRunner

from spinml.cli import app
from spinml.device.client import Client
from spinml.device.ledger import Ledger
from spinml.distributed.cluster import connect
from spinml.errors import (
    AuthenticationError,
    GenerationError,
    InvalidRequestError,
    NotFoundError,
    ServerUnavailableError,
    ServiceError,
    StageCancelledError,
    StageError,
)
from spinml.sweep.results import SweepFolder, TrialRow
from spinml.sweep.spec import SweepSpec
from spinml.tradeoffs.host import SweepHost
from spinml.tradeoffs.run import run_sweep, set_up
from spinml.tradeoffs.service_sweep import ServiceAccess
from spinml.tradeoffs.standing import TrialState
from spinml.tradeoffs.trials import Trial
from tests.sweep.conftest import make_config, make_spec
from tests.sweep.fakes import OPERATIONS
from tests.sweep.rows import row
from tests.sweep.served import Served, evaluate_all, served

__all__ = ["served"]

THREE = {"preferences": [{}, {"target": "L2"}, {"target": "L2", "background": "L2"}]}


def keys_of(served: Served, tenant: str) -> list[str]:
    """Of all the tenant's runs, in the order in which they were submitted."""
    with served.client(tenant) as client:
        return [run.idempotency_key for run in client.runs("")][::-1]


def wait_until_final(served: Served, tenant: str) -> list[str]:
    with served.client(tenant) as client:
        for run in client.runs(""):
            list(client.events(run.id))
        return [run.state for run in client.runs("")]


def write(spec: SweepSpec, folder: Path) -> str:
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(spec.model_dump(mode="json")))
    return str(path)


def test_two_tenants_sweeps_at_once_share_within_a_tenant_alone(
    served: Served, tmp_path: Path, photos: dict[str, str]
) -> None:
    spec = make_spec(photos, space=THREE)

    def sweep(tenant: str) -> list[float]:
        rows = evaluate_all(served.driver(tenant, spec, tmp_path / tenant))
        assert [one.label for one in rows] == ["(L0, L0)", "(L2, L0)", "(L2, L2)"]
        assert {one.synthetic_utility for one in rows} == {0.75}
        assert rows[2].leakage["background"].mi > rows[0].leakage["background"].mi == 0.0
        assert all(stage.seconds == 0.5 for one in rows for stage in one.stages)
        tuned = [stage.digest for one in rows for stage in one.stages if stage.kind == "finetune"]
        executed = [digest for one in rows for digest in one.executed]
        assert (len(tuned), len(set(tuned))) == (3, 2)
        assert len(executed) == len(set(executed)), "each once, whoever's trial it was"
        assert all((tmp_path / tenant / file).is_file() for one in rows for _, file in one.samples)
        return [one.utility for one in rows]

    with ThreadPoolExecutor(2) as pool:
        anna, bert = pool.map(sweep, ("anna", "bert"))
    assert anna == bert == [0.75] * 3
    for tenant in ("anna", "bert"):
        counts = served.executor.by_tenant[tenant]
        assert counts["finetune"] == 2, "the target's is shared by two preferences"
        assert counts["measure"] == 3
        keys = keys_of(served, tenant)
        assert len(keys) == len(set(keys)) == 3, "its own runs alone"
        assert all(key.startswith("cats-") and key.endswith(".0") for key in keys)
    sent = [entry.state for entry in Ledger().entries()]
    assert (sent.count("sending"), sent.count("accepted")) == (6, 6)


def test_a_killed_driver_is_taken_up_by_another_machine(
    served: Served, tmp_path: Path, photos: dict[str, str]
) -> None:
    """By a detached driver and an attached one, which have nothing in common but the file."""
    let_go = threading.Event()
    served.executor.gate = lambda stage: let_go.is_set()
    spec = make_spec(photos, space=THREE)
    access = served.accesses["anna"]
    command = ["sweep", write(spec, tmp_path), "--server", access.server]
    command += ["--key-file", str(access.key_file), "--out", str(tmp_path / "gone")]
    ended = CliRunner().invoke(app, [*command, "--detach"])
    assert ended.exit_code == 0, ended.output
    (sweep,) = ended.stdout.split()
    assert not ray.is_initialized(), "to submit needs no cluster"
    assert not (tmp_path / "gone").exists()
    keys = keys_of(served, "anna")
    assert [key.split(".")[0] for key in keys] == [sweep] * 3
    again = CliRunner().invoke(app, [*command, "--detach", "--json"])
    assert {run["state"] for run in json.loads(again.stdout)["runs"]} <= {"queued", "running"}
    let_go.set()
    assert wait_until_final(served, "anna") == ["succeeded"] * 3, "the service went on alone"

    rows = evaluate_all(served.driver("anna", spec, tmp_path / "elsewhere", attach=sweep))
    assert [one.utility for one in rows] == [0.75] * 3
    assert keys_of(served, "anna") == keys, "nothing was submitted again"
    with pytest.raises(NotFoundError, match="no run of this sweep"):
        served.driver("bert", spec, tmp_path / "bert", attach=sweep)
    with pytest.raises(InvalidRequestError, match=sweep):
        served.driver("anna", spec, tmp_path / "anna", attach="cats-0123456789ab")


def test_what_failed_is_tried_again_unless_one_only_attaches(
    served: Served, tmp_path: Path, photos: dict[str, str]
) -> None:
    spec = make_spec(photos, space={"preferences": [{"target": "L2"}]})
    served.executor.error = GenerationError("4 of 4 objects broken", remedy="draw better")
    first = served.driver("anna", spec, tmp_path / "out")
    assert evaluate_all(first) == []
    broken = first.results.failed(first.setup.trials[0].id)
    assert broken is not None
    assert broken.error["remedy"] == "draw better"
    served.executor.error = None
    sweep = keys_of(served, "anna")[0].split(".")[0]
    assert evaluate_all(served.driver("anna", spec, tmp_path / "other", attach=sweep)) == []
    assert len(keys_of(served, "anna")) == 1
    assert len(evaluate_all(served.driver("anna", spec, tmp_path / "out"))) == 1
    assert [key.rpartition(".")[2] for key in keys_of(served, "anna")] == ["0", "1"]


def test_early_stopping_cancels_what_waits_in_the_queue(
    served: Served, tmp_path: Path, photos: dict[str, str]
) -> None:
    out = tmp_path / "out"
    spec = make_spec(
        photos,
        space={"preferences": [{}, {"target": "L2"}], "seeds": 3},
        early_stopping={"after_seeds": 2},
    )
    setup = set_up(spec, make_config(tmp_path), out, OPERATIONS, served.accesses["anna"], None)
    ids, known = [trial.id for trial in setup.trials], SweepFolder(out)  # seed by seed
    known.finish(row("L0,L0", 0.74, id=ids[0]), {})
    known.finish(row("L2,L0", 0.10, (0.8, 0.0), id=ids[1]), {})
    known.finish(row("L2,L0", 0.12, (0.8, 0.0), seed=1, id=ids[3]), {})
    # Only the first run gets through: then the other two wait.
    served.executor.gate = lambda stage: "measure" not in served.executor.executed
    host = served.driver("anna", spec, out)
    assert len(keys_of(served, "anna")) == 3
    with ThreadPoolExecutor(2) as pool:
        hopeless = pool.submit(host.evaluate, {"trial": 5})
        assert host.evaluate({"trial": 2}) is not None
        assert hopeless.result(timeout=30) == {}, "neither finished nor broken"
    standing = host.standings()[5]
    assert (standing.label, standing.state) == ("(L2, L0)", TrialState.SKIPPED)
    assert "is better by" in standing.detail
    with served.client("anna") as client:
        assert next(iter(client.runs(""))).state == "cancelled"
    host.close()


class Undecided:
    """Whoever gives up a run waits a while, and learns that it has just ended."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def give_up(self, trial: Trial) -> bool:
        self.asked.set()
        time.sleep(0.5)
        return False


def host_before_stopping(
    folder: Path, photos: dict[str, str], service: ServiceAccess | None
) -> SweepHost:
    """Trial 5 is hopeless as soon as trial 2 is done."""
    spec = make_spec(
        photos,
        space={"preferences": [{}, {"target": "L2"}], "seeds": 3},
        early_stopping={"after_seeds": 2},
    )
    setup = set_up(spec, make_config(folder), folder / "out", OPERATIONS, service, None)
    known = SweepFolder(setup.folder)
    for place, found in (
        (0, row("L0,L0", 0.74)),
        (1, row("L2,L0", 0.10, (0.8, 0.0))),
        (3, row("L2,L0", 0.12, (0.8, 0.0), seed=1)),
    ):
        known.finish(found.model_copy(update={"id": setup.trials[place].id}), {})
    return SweepHost(setup)


@pytest.mark.parametrize("broken", [True, False])
def test_a_run_that_ends_while_it_is_given_up_keeps_its_end(
    tmp_path: Path, photos: dict[str, str], monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    carrier, begun = Undecided(), threading.Event()
    monkeypatch.setattr("spinml.tradeoffs.host.carrier_of", lambda setup: carrier)
    access = ServiceAccess("http://127.0.0.1:1", tmp_path / "key")
    host = host_before_stopping(tmp_path, photos, access)
    hopeless = host.setup.trials[5]

    def do(trial: Trial) -> TrialRow:
        if trial is not hopeless:
            assert begun.wait(30)
            return row("L0,L0", 0.75, seed=1)
        begun.set()
        assert carrier.asked.wait(30)
        if broken:
            raise GenerationError("4 of 4 objects broken", remedy="draw better")
        return row("L2,L0", 0.11, (0.8, 0.0), seed=2)

    monkeypatch.setattr(host, "_do", do)
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(host.evaluate, {"trial": 5})
        assert host.evaluate({"trial": 2}) is not None
    assert host.standings()[5].state is (TrialState.FAILED if broken else TrialState.DONE)
    assert (answer.result() is None) is broken
    assert (host.results.failed(hopeless.id) is not None) is broken


def test_a_run_that_was_given_up_before_it_was_followed_is_not_broken(
    tmp_path: Path, photos: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spinml.tradeoffs.host.carrier_of", lambda setup: Undecided())
    host = host_before_stopping(tmp_path, photos, None)
    hopeless = host.setup.trials[5]
    host._stand_skipped(hopeless, "another is better")

    def do(trial: Trial) -> TrialRow:
        raise StageCancelledError("the run was cancelled")

    monkeypatch.setattr(host, "_do", do)
    assert host._attempt(hopeless) is None
    assert host.standings()[5].state is TrialState.SKIPPED
    assert host.results.failed(hopeless.id) is None


def test_nothing_is_given_up_on_a_cluster_that_ends_no_run(
    tmp_path: Path, photos: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier = Undecided()
    monkeypatch.setattr("spinml.tradeoffs.host.carrier_of", lambda setup: carrier)
    host = host_before_stopping(tmp_path, photos, None)
    monkeypatch.setattr(host, "_do", lambda trial: row("L0,L0", 0.75, seed=1))
    assert host.evaluate({"trial": 2}) is not None
    assert not carrier.asked.is_set()
    assert host.standings()[5].state is TrialState.WAITING
    assert host.evaluate({"trial": 5}) == {}, "its turn has come"
    assert host.standings()[5].state is TrialState.SKIPPED


@pytest.mark.parametrize("error", [NotFoundError("gone"), ServerUnavailableError("away")])
def test_a_service_that_cannot_be_asked_gives_no_run_up(
    served: Served, tmp_path: Path, photos: dict[str, str],
    monkeypatch: pytest.MonkeyPatch, error: ServiceError,
) -> None:  # fmt: skip
    host = served.driver("anna", make_spec(photos, space=THREE), tmp_path / "out")
    monkeypatch.setattr(Client, "cancel", MagicMock(side_effect=error))
    assert not host.carrier.give_up(host.setup.trials[0])
    host.close()


def test_a_key_is_wanted_and_stays_out_of_what_others_see(
    served: Served, tmp_path: Path, photos: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(photos, space=THREE)
    setup = set_up(spec, make_config(tmp_path), tmp_path, OPERATIONS, served.accesses["anna"], None)
    assert served.keys["anna"] not in repr(setup)
    command = ["sweep", write(spec, tmp_path), "--server", served.url, "--detach"]
    ended = CliRunner().invoke(app, command)
    assert isinstance(ended.exception, AuthenticationError)
    monkeypatch.setenv("SPINML_API_KEY", "spin_0000_wrong")
    refused = CliRunner().invoke(app, command)
    assert isinstance(refused.exception, AuthenticationError)
    monkeypatch.setenv("SPINML_API_KEY", served.keys["bert"])
    accepted = CliRunner().invoke(app, command)
    assert accepted.exit_code == 0, accepted.output
    assert served.keys["bert"] not in accepted.output
    assert (len(keys_of(served, "bert")), keys_of(served, "anna")) == (3, [])
    served.accesses["anna"] = ServiceAccess(served.url, tmp_path / "nowhere")
    with pytest.raises(AuthenticationError, match="key file"):
        served.driver("anna", spec, tmp_path / "out")


def test_options_that_contradict_each_other_are_refused(
    tmp_path: Path, photos: dict[str, str]
) -> None:
    grid = write(make_spec(photos, space=THREE), tmp_path)
    (tmp_path / "other").mkdir()
    search = make_spec(photos, search={"kind": "optuna", "trials": 2}, name="searched")
    searched = write(search, tmp_path / "other")
    at = ["--server", "http://127.0.0.1:1"]
    for options, told in (
        ([grid, "--detach"], "no --server"),
        ([grid, *at, "--detach", "--attach", "cats-1"], "and --detach"),
        ([grid, searched, *at, "--attach", "cats-1"], "2 file"),
        ([searched, *at, "--detach"], "searched is a search"),
    ):
        ended = CliRunner().invoke(app, ["sweep", *options])
        assert isinstance(ended.exception, InvalidRequestError), ended.output
        assert told in ended.exception.message


def test_nothing_that_could_be_submitted_is_an_error(
    served: Served, tmp_path: Path, photos: dict[str, str]
) -> None:
    spec = make_spec(photos, space={"preferences": [{"target": "L1"}]})
    spec = spec.model_copy(
        update={"request": spec.request | {"features": {"target": "soft_edges"}}}
    )
    access = served.accesses["anna"]
    command = ["sweep", write(spec, tmp_path), "--server", access.server, "--detach"]
    ended = CliRunner().invoke(app, [*command, "--key-file", str(access.key_file)])
    assert isinstance(ended.exception, StageError)
    assert "1 unknown_feature" in ended.exception.message
    assert keys_of(served, "anna") == []


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_optuna_searches_by_runs_of_the_service(
    served: Served, tmp_path: Path, photos: dict[str, str]
) -> None:
    connect(num_cpus=1, num_gpus=0, object_store_bytes=200_000_000)
    try:
        spec = make_spec(photos, search={"kind": "optuna", "trials": 2})
        access, out = served.accesses["anna"], tmp_path / "out"
        result = run_sweep(spec, make_config(tmp_path), out, service=access, concurrent=2)
        assert 1 <= len(result.rows) <= 2
        assert not result.failed
        keys = keys_of(served, "anna")
        assert len(keys) == len(result.rows)
        elsewhere = run_sweep(
            spec, make_config(tmp_path), tmp_path / "elsewhere", service=access, concurrent=1
        )
        known = {row.label for row in result.rows}
        assert known & {row.label for row in elsewhere.rows}, "the same seed proposes the same"
        assert keys_of(served, "anna")[: len(keys)] == keys, "and takes up what was submitted"
    finally:
        ray.shutdown()
