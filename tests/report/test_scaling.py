"""What is said of a cluster that grew, and its plot."""

from __future__ import annotations

import json
from pathlib import Path

from spinml.images import decode_photo
from spinml.pipeline.stages import StageKind
from spinml.report.scaling import Execution, Sample, Timeline
from spinml.report.scaling_plot import scaling_plot


def execution(digest: str, node: str, began_s: float, ended_s: float | None) -> Execution:
    return Execution(
        digest=digest,
        kind=StageKind.DRAW,
        label="draw",
        node=node,
        began_s=began_s,
        ended_s=ended_s,
    )


def sample(at_s: float, nodes: str, in_use: float, under_way: int) -> Sample:
    return Sample(
        at_s=at_s, nodes=tuple(nodes), gpus=len(nodes), gpus_in_use=in_use, under_way=under_way
    )


TIMELINE = Timeline(
    samples=(
        sample(0, "", 0, 0),
        sample(2, "a", 1, 1),
        sample(4, "ab", 2, 2),
        sample(6, "b", 1, 1),
        sample(8, "", 0, 0),
    ),
    executions=(
        execution("one", "a", 2, None),
        execution("two", "b", 4, 5),
        execution("one", "b", 5, 6),
    ),
    began_s=1,
    ended_s=6.5,
    emptied_s=8,
    trials=2,
    failed=0,
)


def test_the_figures_say_how_it_grew_and_what_was_lost(tmp_path: Path) -> None:
    figures = TIMELINE.figures()
    assert (figures["stages"], figures["executed_again"]) == (2, 1)
    assert (figures["nodes_before"], figures["most_nodes"]) == (0, 2)
    assert (figures["nodes_that_worked"], figures["most_stages_at_once"]) == (2, 2)
    assert (figures["first_node_after_s"], figures["sweep_s"], figures["empty_after_s"]) == (
        1.0, 5.5, 1.5,
    )  # fmt: skip
    # A value holds until the next sample: 1 · 2 s + 2 · 2 s + 1 · 2 s.
    assert (figures["gpu_seconds_there"], figures["gpu_seconds_in_use"]) == (8.0, 8.0)
    path = tmp_path / "timeline.json"
    TIMELINE.write(path)
    written = json.loads(path.read_text())
    assert written["figures"] == figures
    assert Timeline.model_validate(written["timeline"]) == TIMELINE


def test_shards_of_a_stage_are_no_repetition() -> None:
    shards = [
        execution("one", "a", at, at + 1).model_copy(update={"part": f"shard-{at}"})
        for at in range(3)
    ]
    together = TIMELINE.model_copy(update={"executions": tuple(shards)})
    assert together.executed_again() == []
    assert together.figures()["stages"] == 1


def test_the_plot_shows_lost_stages_and_a_cluster_that_stays() -> None:
    for timeline in (TIMELINE, TIMELINE.model_copy(update={"emptied_s": None})):
        height, width, _ = decode_photo(scaling_plot(timeline)).shape
        assert width > height > 300
