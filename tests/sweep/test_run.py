"""Sweeps on a real cluster of two CPUs with Ray Tune: sharing, failure, resuming, refusing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ray
from ray.tune.search.optuna import OptunaSearch

from spinml.config import LogConfig, StoreConfig, TrainingConfig
from spinml.distributed.cluster import connect
from spinml.distributed.sweep import Host, Trials, run_trials
from spinml.errors import (
    ArtifactError,
    CheckpointError,
    InfeasibleResourcesError,
    InvalidRequestError,
)
from spinml.sweep.spec import PhotosOfHome
from spinml.tradeoffs.benchmark import measure_sharing
from spinml.tradeoffs.run import run_sweep, set_up
from spinml.tradeoffs.standing import Standing, TrialState
from tests.sweep.conftest import REQUEST, make_config, make_spec
from tests.sweep.fakes import (
    BROKEN_SEED,
    JOURNAL,
    OPERATIONS,
    FarHost,
    InterruptingHost,
    UnmadeHost,
    executed,
    journalled_cluster,
)

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def journals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cluster whose workers note in this folder what they execute."""
    with journalled_cluster(tmp_path_factory.mktemp("journal")) as folder:
        yield folder


@pytest.fixture
def journal(journals: Path) -> Path:
    """The folder, emptied."""
    for path in journals.iterdir():
        path.unlink()
    return journals


@pytest.mark.timeout(600)
def test_nine_preferences_tune_four_models_and_a_tenth_adds_only_its_own(
    tmp_path: Path, photos: dict[str, str], journal: Path
) -> None:
    seen: list[Sequence[Standing]] = []
    config, out = make_config(tmp_path), tmp_path / "out"
    result = run_sweep(make_spec(photos), config, out, operations=OPERATIONS, tell=seen.append)

    assert len(result.rows) == 9
    assert not result.failed
    counts = executed(journal)
    assert counts["finetune"] == 4
    assert counts["expand"] == 2
    assert counts["draw"] == 3, "the dog at each scheme, whatever is behind it"
    assert [counts[kind] for kind in ("generate", "train", "export", "measure")] == [9, 9, 9, 9]
    finetunes = [s for row in result.rows for s in row.stages if s.kind == "finetune"]
    assert len(finetunes) == 12, "what nine runs that share nothing would tune"
    assert result.cost.executed == counts.total()
    assert 0 < result.cost.busy_s < result.cost.seconds
    first = result.rows[0]
    assert (first.label, first.utility, first.photos) == ("(L0, L0)", 0.75, 4)
    assert [leak.mi for leak in first.leakage.values()] == [0.0, 0.0]
    assert {leak.prompt_sim is None for leak in first.leakage.values()} == {False}
    assert first.leakage["target"].prompt_sim != first.leakage["target"].empty_prompt_sim
    last = result.rows[-1]
    assert last.label == "(L2, L2)"
    assert last.leakage["background"].mi > 0.5
    assert {standing.state for standing in seen[-1]} == {TrialState.DONE}
    assert pq.read_table(out / "results.parquet").num_rows == 9
    stored = json.loads((out / "results.json").read_text())
    assert stored["recommendation"]["label"] == "(L0, L0)"
    assert all((out / file).is_file() for row in result.rows for _, file in row.samples)

    space = {"preferences": {"target": ["L0", "L1", "L2"], "background": ["L0", "L1", "L2"]}}
    more = make_spec(photos, space=space | {"noise": {"target": [None, 10]}})
    again = run_sweep(more, config, out, operations=OPERATIONS)
    assert len(again.rows) == 12, "noise is for L2 alone: three more"
    added = executed(journal) - counts
    assert added == {
        "finetune": 1, "draw": 1, "generate": 3, "train": 3, "export": 3, "measure": 3,
    }  # fmt: skip


def test_broken_trials_do_not_end_the_sweep(
    tmp_path: Path, photos: dict[str, str], journal: Path
) -> None:
    space = {
        "preferences": [{"target": "L0"}, {"target": "L2", "frame": "L1"}],
        "seeds": [0, BROKEN_SEED],
    }
    config, out = make_config(tmp_path), tmp_path / "out"
    result = run_sweep(make_spec(photos, space=space), config, out, operations=OPERATIONS)
    assert [(row.label, row.seed) for row in result.rows] == [("(L0, L0)", 0)]
    lacking, broken = result.failed
    assert (lacking.seed, lacking.error["code"]) == (0, "invalid_request")
    assert "frame" in lacking.error["message"]
    assert (broken.seed, broken.error["code"]) == (BROKEN_SEED, "generation_failed")
    assert broken.error["remedy"] == "draw better"


@pytest.mark.usefixtures("journal")
def test_trials_that_nobody_finished_are_broken(
    tmp_path: Path, photos: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spinml.tradeoffs.run.run_trials", lambda host, trials, folder: None)
    space = {"preferences": [{"target": "L0"}, {"target": "L2"}]}
    spec, config = make_spec(photos, space=space), make_config(tmp_path)
    result = run_sweep(spec, config, tmp_path / "out", operations=OPERATIONS)
    assert [trial.label for trial in result.failed] == ["(L0, L0)", "(L2, L0)"]
    assert {trial.error["message"] for trial in result.failed} == {"the trial was not finished"}


@pytest.mark.usefixtures("journal")
@pytest.mark.timeout(180)
def test_ctrl_c_ends_the_trials(tmp_path: Path) -> None:
    # A shell's background process, as tests may be, ignores it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupting = Host(InterruptingHost, os.getpid(), concurrent=1)
    try:
        with interrupting as host, pytest.raises(KeyboardInterrupt):
            run_trials(host, Trials({"x": range(3)}), tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("journal")
@pytest.mark.timeout(180)
def test_a_search_learns_from_trials_on_another_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []

    def complete(self: object, trial: str, result: object = None, error: bool = False) -> None:
        told.append((result is not None, error))

    monkeypatch.setattr(OptunaSearch, "on_trial_complete", complete)
    trials = Trials({"x": range(3)}, count=2, objectives={"utility": "max"})
    with Host(FarHost, tmp_path, concurrent=1) as host:
        run_trials(host, trials, tmp_path)
    assert told == [(True, False)] * 2


@pytest.mark.usefixtures("journal")
def test_a_host_that_cannot_be_made_says_why() -> None:
    with Host(UnmadeHost, concurrent=1) as host, pytest.raises(CheckpointError) as caught:
        host.ask("standings")
    assert caught.value.remedy == "check its name"


def test_where_and_how_loudly_it_runs_names_no_trial(
    tmp_path: Path, photos: dict[str, str]
) -> None:
    quiet = make_config(tmp_path)
    loud = quiet.model_copy(update={"logs": LogConfig(level="DEBUG")})
    trials = [
        set_up(make_spec(photos), config, tmp_path, OPERATIONS, None, None).trials
        for config in (quiet, loud)
    ]
    assert trials[0] == trials[1]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_unreachable_store_breaks_trials_and_loses_nothing(
    tmp_path: Path, photos: dict[str, str], journal: Path
) -> None:
    config, out = make_config(tmp_path), tmp_path / "out"
    one = make_spec(photos, space={"preferences": [{"target": "L0"}]})
    run_sweep(one, config, out, operations=OPERATIONS)
    store = tmp_path / "store"
    store.rename(tmp_path / "away")
    store.write_text("no folder")
    both = make_spec(photos, space={"preferences": [{"target": "L0"}, {"target": "L2"}]})
    broken = run_sweep(both, config, out, operations=OPERATIONS)
    assert [row.label for row in broken.rows] == ["(L0, L0)"]
    assert [trial.error["code"] for trial in broken.failed] == ["artifact_error"]
    store.unlink()
    (tmp_path / "away").rename(store)
    mended = run_sweep(both, config, out, operations=OPERATIONS)
    assert [row.label for row in mended.rows] == ["(L0, L0)", "(L2, L0)"]
    assert not mended.failed
    assert executed(journal)["train"] == 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_optuna_searches_and_goes_on(tmp_path: Path, photos: dict[str, str], journal: Path) -> None:
    def search(trials: int) -> dict[str, object]:
        return {"search": {"kind": "optuna", "trials": trials}, "early_stopping": None}

    config, out = make_config(tmp_path), tmp_path / "out"
    result = run_sweep(make_spec(photos, **search(3)), config, out, operations=OPERATIONS)
    first = {row.id for row in result.rows}
    assert 1 <= len(first) <= 3
    trained = executed(journal)["train"]
    assert trained == len(first)
    more = run_sweep(make_spec(photos, **search(5)), config, out, operations=OPERATIONS)
    assert first <= {row.id for row in more.rows}
    assert executed(journal)["train"] == len(more.rows)


@pytest.mark.usefixtures("journal")
def test_refuses_at_once_what_can_never_run(tmp_path: Path, photos: dict[str, str]) -> None:
    began = time.monotonic()
    with pytest.raises(InfeasibleResourcesError, match=r"8 GPU.*at most 2 CPU, 0 GPU"):
        run_sweep(make_spec(photos), make_config(tmp_path, gpus=8), tmp_path / "out")
    with pytest.raises(InvalidRequestError, match="empty"):
        run_sweep(make_spec(photos, space={}), make_config(tmp_path), tmp_path / "out")
    three_trainers = make_config(tmp_path).model_copy(
        update={"training": TrainingConfig(num_workers=3), "store": StoreConfig(artifacts="no://")}
    )
    with pytest.raises(InfeasibleResourcesError, match="wants 3 actors of 1 CPU"):
        run_sweep(make_spec(photos), three_trainers, tmp_path / "out")
    request = {name: REQUEST[name] for name in ("target_object", "background")}
    request |= {"task": "detection", "training_objective": "find my cat"}
    with pytest.raises(ArtifactError):  # the next thing that is checked
        run_sweep(make_spec(photos, request=request), three_trainers, tmp_path / "out")
    assert time.monotonic() - began < 10
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sweep_is_compared_with_runs_that_share_nothing(
    tmp_path: Path, photos: dict[str, str], journals: Path
) -> None:
    ray.shutdown()

    @contextmanager
    def cluster() -> Iterator[None]:
        connect(num_cpus=2, num_gpus=0, object_store_bytes=200_000_000)
        yield
        ray.shutdown()

    for path in journals.iterdir():
        path.unlink()
    found = measure_sharing(
        make_config(tmp_path),
        REQUEST,
        cluster,
        preferences=[{"target": "L2"}, {"target": "L2", "background": "L2"}],
        photos=PhotosOfHome.model_validate(photos),
        operations=OPERATIONS,
    )
    assert executed(journals)["finetune"] == 2 + 3, "shared, and each alone"
    assert (found.added_stages, found.made_again) == (6, 0)
    assert 0 < found.overhead < 1
    assert 0 < found.stage_share < 1
    assert min(found.sweep_s, found.alone_s) > 0


DRIVER = """
import sys
from pathlib import Path
import ray
from spinml.distributed.cluster import connect
from spinml.tradeoffs.run import run_sweep
from tests.sweep.conftest import make_config, make_home, make_spec
from tests.sweep.fakes import OPERATIONS

folder = Path(sys.argv[1])
connect(num_cpus=2, num_gpus=0, object_store_bytes=200_000_000)
spec = make_spec(make_home(folder / "home"))
run_sweep(spec, make_config(folder), folder / "out", operations=OPERATIONS, concurrent=1)
ray.shutdown()
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_sweep_goes_on(tmp_path: Path) -> None:
    ray.shutdown()
    journal = tmp_path / "journal"
    journal.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment[JOURNAL] = str(journal)
    command = [sys.executable, "-c", DRIVER, str(tmp_path)]
    root = Path(__file__).parents[2]
    trials = tmp_path / "out" / "trials"
    deadline = time.monotonic() + 120
    with subprocess.Popen(command, cwd=root, env=environment) as driver:
        while len(list(trials.glob("*.json"))) < 2:
            assert time.monotonic() < deadline, "no trial was finished in time"
            assert driver.poll() is None, "the sweep ended by itself"
            time.sleep(0.05)
        driver.send_signal(signal.SIGKILL)
    time.sleep(2)
    finished = {path.name: path.stat().st_mtime_ns for path in trials.glob("*.json")}
    assert 2 <= len(finished) < 9
    subprocess.run(command, cwd=root, env=environment, check=True, timeout=150)
    assert len(list(trials.glob("*.json"))) == 9
    for name, written in finished.items():
        assert (trials / name).stat().st_mtime_ns == written, "a finished trial is not done again"
    counts = executed(journal)
    assert counts["finetune"] <= 5, "four, and at most the one that was at work"
    assert counts["train"] <= 10
