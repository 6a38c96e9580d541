"""A plan: the stages of runs in order, and which of them are still to execute."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass

from spinml.errors import ArtifactNotFoundError
from spinml.pipeline.stages import Stage, StageKind


@dataclass(frozen=True)
class Plan:
    """Stages by digest, each after its inputs, and the digests by role of a run's results.

    Raises:
        ValueError: a stage stands before one of its inputs, or a result is no stage of the plan.
    """

    stages: Mapping[str, Stage]
    results: Mapping[str, str]
    """"dataset", "model", "export", "measure" → digest; a mixture's further datasets are
    "dataset_2", "dataset_3", …, in the order of the request's preferences."""

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for digest, stage in self.stages.items():
            absent = sorted(role for role, source in stage.inputs.items() if source not in seen)
            if absent:
                raise ValueError(f"{stage.kind} stands before its inputs: {', '.join(absent)}")
            seen.add(digest)
        strays = sorted(role for role, digest in self.results.items() if digest not in seen)
        if strays:
            raise ValueError(f"results that no stage makes: {', '.join(strays)}")

    def __iter__(self) -> Iterator[Stage]:
        return iter(self.stages.values())

    def result(self, role: str) -> Stage:
        """The stage that makes the result called ``role``."""
        return self.stages[self.results[role]]

    def wanted(self) -> set[str]:
        """Digests of what the run is for: its results, and the stages no other stage takes.

        What arrived is wanted by the stages that take it alone: a segment shared as words (L0) is
        in the plan's parameters already.
        """
        taken = {source for stage in self for source in stage.inputs.values()}
        made = {digest for digest, stage in self.stages.items() if stage.kind != StageKind.SEGMENT}
        return set(self.results.values()) | (made - taken)

    def needed_segments(self, done: Container[str]) -> set[str]:
        """Digests of the segments that a stage takes which is not among the ``done`` ones."""
        return {
            source
            for digest, stage in self.stages.items()
            if digest not in done
            for source in stage.inputs.values()
            if self.stages[source].kind is StageKind.SEGMENT
        }


def union(plans: Iterable[Plan]) -> Plan:
    """One plan of several: each stage once, each after its inputs.

    Its results are called ``<index of the plan>.<role>``.
    """
    stages: dict[str, Stage] = {}
    results: dict[str, str] = {}
    for index, plan in enumerate(plans):
        stages.update(plan.stages)
        results |= {f"{index}.{role}": digest for role, digest in plan.results.items()}
    return Plan(stages, results)


def missing(plan: Plan, exists: Callable[[Stage], bool]) -> list[Stage]:
    """The stages to execute, in order: the plan minus the artifacts that exist (rule 3).

    An input that is gone but that nothing missing needs is not made again.

    Raises:
        ArtifactNotFoundError: a sanitized segment is needed and is not in the store.
    """
    needed = plan.wanted()
    to_run: list[Stage] = []
    for digest, stage in reversed(list(plan.stages.items())):
        if digest not in needed or exists(stage):
            continue
        if stage.kind is StageKind.SEGMENT:
            raise ArtifactNotFoundError(
                "a sanitized segment of the run is not in the store",
                remedy="submit the bundle again",
            )
        needed.update(stage.inputs.values())
        to_run.append(stage)
    return to_run[::-1]
