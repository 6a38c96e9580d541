"""The tables' definitions, and cells put together from trials."""

from __future__ import annotations

from pathlib import Path

import pytest

from spinml.config import ServerConfig
from spinml.errors import ConfigError
from spinml.reproduce.document import _cell
from spinml.reproduce.experiments import (
    EXPERIMENTS,
    TABLES,
    conditions_of,
    labelled,
    seeds_by_experiment,
    source_of,
    sweep_of,
    tables_of,
)
from spinml.reproduce.paper import paper_tables
from spinml.reproduce.run import Settings, put_together
from spinml.reproduce.selection import Selection
from spinml.reproduce.tables import CAPTIONS, Cell, assemble
from spinml.sweep.estimates import Estimate
from spinml.sweep.summary import SweepCost, summarise_sweep
from tests.reproduce.rows import paper_rows

ROWS = {
    "3a": 6, "3b": 8, "3c": 8, "4a": 4, "4b": 7, "4c": 7, "4d": 3, "5": 4, "6": 13, "6-frame": 2,
    "7": 3,
}  # fmt: skip


def test_the_papers_tables_are_whole() -> None:
    assert {name: len(table.rows) for name, table in paper_tables().items()} == ROWS
    assert set(CAPTIONS) == set(TABLES)
    for table in paper_tables().values():
        assert all(len(values) == len(table.columns) for values in table.rows.values())
    assert paper_tables()["3a"].value("L0,L0 + L2,L0", "real") == 73.08
    assert paper_tables()["4b"].value("L1,L2", "MI target") == 2.97
    assert paper_tables()["6"].value("L2,L2,L2", "synthetic") == 83.65


@pytest.mark.parametrize("name", [name for name in TABLES if name != "7"])
def test_every_row_has_a_valid_condition_of_its_own(name: str) -> None:
    by_experiment: dict[str, list[str]] = {}
    for row in paper_tables()[name].rows:
        source = source_of(name, row)
        assert source is not None
        by_experiment.setdefault(source[0].name, []).append(source[1])
    for experiment, conditions in by_experiment.items():
        found = labelled(EXPERIMENTS[experiment], conditions).values()
        assert [one.error for one in found] == [None] * len(conditions)
        assert len({one.label for one in found}) == len(conditions)


def test_conditions_are_what_the_paper_describes() -> None:
    human = labelled(EXPERIMENTS["human"], ["L1,L2", "L0,L2 + L1,L2", "L1,L1"])
    labels = [one.label for one in human.values()]
    assert labels == ["(L1 pose, L2)", "(L0, L2) + (L1 pose, L2)", "(L1 pose, L1)"]
    noisy = labelled(EXPERIMENTS["noise"], ["L2 σ=5,L0"])["L2 σ=5,L0"]
    assert noisy.label == "(L2 σ=5, L0)"
    assert noisy.at(0).noise == {"target": 5}
    frame = labelled(EXPERIMENTS["two_objects"], ["L0,L1,L2"])["L0,L1,L2"].at(1)
    assert frame.target_objects == ("pill bottle", "photo frame")
    assert (str(frame.privacy), frame.task, frame.seed) == ("(L0, L1, L2)", "detection", 1)


def test_every_task_has_as_many_images_a_preference() -> None:
    images = {name: one.request(80)["images_per_class"] for name, one in EXPERIMENTS.items()}
    assert images == {"pet": 80, "noise": 80, "human": 80, "bottle": 320, "two_objects": 320}


def test_tables_share_conditions() -> None:
    pet = EXPERIMENTS["pet"]
    assert len(conditions_of(pet, ["3a"])) == 6
    assert len(conditions_of(pet, ["3a", "4a", "4d"])) == 6
    assert len(conditions_of(pet, TABLES)) == 6
    assert conditions_of(pet, ["3b", "7"]) == []


def test_seeds_are_counted_by_experiment() -> None:
    assert set(seeds_by_experiment("3").values()) == {3}
    some = seeds_by_experiment("2, pet=5,bottle=1")
    assert (some["pet"], some["human"], some["bottle"]) == (5, 2, 1)
    assert seeds_by_experiment("pet=1")["human"] == 3
    for wrong in ("", "0", "-1", "1.5", "cat=2", "pet=", "pet=0", "=2x"):
        with pytest.raises(ConfigError, match="a number from 1 on"):
            seeds_by_experiment(wrong)


def test_tables_are_named_in_the_papers_order() -> None:
    assert tables_of(["6", "3a"]) == ("3a", "6", "6-frame")
    with pytest.raises(ConfigError, match="no such table: 8"):
        tables_of(["3a", "8"])


def test_cells_are_means_over_seeds_in_the_papers_units() -> None:
    rows = {name: paper_rows(name, 3, jitter=0.01) for name in EXPERIMENTS}
    generic = {"husky": Estimate(30.0, None, (25.0, 35.0))}
    tables = assemble(TABLES, rows, generic)
    for name, table in tables.items():
        for row, cells in table.rows.items():
            for column, cell in zip(table.columns, cells, strict=True):
                assert cell.paper == paper_tables()[name].value(row, column)
                if name != "7":
                    assert cell.ours is not None, (name, row, column)
                    assert cell.ours.mean == pytest.approx(cell.paper), (name, row, column)
    accuracy = tables["3a"].cell("L2,L0", "real").ours
    assert accuracy is not None
    assert accuracy.spread == pytest.approx(1.0)
    assert tables["7"].cell("husky", "real").ours == generic["husky"]
    assert tables["7"].cell("bottle", "real").ours is None


def test_what_was_not_measured_stays_empty() -> None:
    rows = [row for row in paper_rows("pet", 1) if row.label == "(L2, L0)"]
    table = assemble(["3a"], {"pet": rows}, {})["3a"]
    assert table.cell("L2,L0", "real").ours is not None
    assert table.cell("L1,L0", "real").ours is None
    assert assemble(["3b"], {"pet": rows}, {})["3b"].cell("L0,L0", "real").ours is None


def test_a_reproduction_is_complete_when_every_cell_has_a_figure_that_can_have_one() -> None:
    selection = Selection(("3a", "4d"), {"pet": ("L0,L0",)}, ())
    settings = Settings({"pet": 1}, 4, "home", None)
    rows = {name: paper_rows(name, 1) for name in ("pet", "human", "bottle")}

    def complete() -> bool:
        sweeps = {
            name: summarise_sweep(
                sweep_of(EXPERIMENTS[name], ("L0,L0",), 1, 4), Path(), found, [], [],
                SweepCost(0.0, 0.0, 0),
            )
            for name, found in rows.items()
        }  # fmt: skip
        return put_together(selection, settings, ServerConfig(), sweeps, {}).complete

    assert complete()
    no_prompts = {"prompt_sim": None, "empty_prompt_sim": None}
    for name, found in rows.items():
        rows[name] = [
            one.model_copy(
                update={
                    "leakage": {
                        segment: leak.model_copy(update=no_prompts)
                        for segment, leak in one.leakage.items()
                    }
                }
            )
            for one in found
        ]
    assert complete(), "the embedder reads no text: table 4d has nothing to say"
    rows["pet"].pop()
    assert not complete()


def test_a_figure_that_no_seed_changes_is_told_without_a_spread() -> None:
    same = Estimate(9.12, 0.0, (9.12, 9.12))
    assert _cell("MI target", Cell(0.89, same)) == ("0.89", "9.12")
    hardly = Estimate(0.707, 0.0001, (0.706, 0.708))
    assert _cell("SIM target", Cell(0.51, hardly)) == ("0.510", "0.707")
    varied = Estimate(51.5, 4.0, (41.6, 61.4))
    assert _cell("real", Cell(63.46, varied)) == ("63.46", "51.50 ± 4.00")
