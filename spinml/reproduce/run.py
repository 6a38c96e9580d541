"""A reproduction from its settings to tables, insights and figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spinml.config import ServerConfig
from spinml.distributed.operations import Operations
from spinml.reproduce.claims import JudgedInsight, about, in_ours, judge_all
from spinml.reproduce.experiments import EXPERIMENTS, sweep_of
from spinml.reproduce.generic import measure_generic
from spinml.reproduce.insights import FINDINGS, INSIGHTS
from spinml.reproduce.selection import LeftOut, Selection, datasets_of_generic
from spinml.reproduce.tables import Table, assemble
from spinml.sweep.estimates import Estimate
from spinml.sweep.summary import SweepResult
from spinml.tradeoffs.run import run_sweep
from spinml.tradeoffs.standing import Standing

Tell = Callable[[str, Sequence[Standing]], None]


@dataclass(frozen=True)
class Settings:
    """How large a reproduction is."""

    seeds: Mapping[str, int]
    """By experiment."""
    images_per_class: int
    generic_model: str
    """Table 7's classifier: ``home``, a folder or a hub name."""
    generic_detector: str | None
    """Table 7's detector; None leaves the bottle out."""


@dataclass(frozen=True)
class Reproduction:
    """What came out."""

    settings: Settings
    steps: int
    """Of fine-tuning."""
    tables: dict[str, Table]
    insights: tuple[JudgedInsight, ...]
    """Of §5.4, those about the tables asked for; so of the others."""
    findings: tuple[JudgedInsight, ...]
    """Of the other sections."""
    sweeps: dict[str, SweepResult]
    left_out: tuple[LeftOut, ...]

    @property
    def complete(self) -> bool:
        """Whether every cell that was asked for has been measured, with all of its seeds."""
        broken = any(result.failed for result in self.sweeps.values())
        return not (self.left_out or broken) and all(t.complete for t in self.tables.values())


def with_steps(config: ServerConfig, steps: int | None) -> ServerConfig:
    """The configuration with ``steps`` of fine-tuning; None leaves its own."""
    if steps is None:
        return config
    return config.model_copy(
        update={"finetune": config.finetune.model_copy(update={"steps": steps})}
    )


def reproduce(
    selection: Selection,
    settings: Settings,
    config: ServerConfig,
    out: Path,
    *,
    tell: Tell = lambda name, standings: None,
    concurrent: int | None = None,
    operations: Operations | None = None,
) -> Reproduction:
    """Run what ``selection`` chose on the connected Ray cluster, sweep by sweep, into ``out``.

    Run again, it goes on where it was, as :func:`spinml.tradeoffs.run.run_sweep` does.

    Raises:
        SpinMLError: see there. A broken trial is no error: its cells stay empty.
    """
    sweeps: dict[str, SweepResult] = {}
    for name, conditions in selection.conditions.items():
        seeds = settings.seeds[name]
        spec = sweep_of(EXPERIMENTS[name], conditions, seeds, settings.images_per_class)

        def told(standings: Sequence[Standing], name: str = name) -> None:
            tell(name, standings)

        sweeps[name] = run_sweep(
            spec, config, out / name, tell=told, concurrent=concurrent, operations=operations
        )
    return put_together(selection, settings, config, sweeps, _generic(selection, settings))


def _generic(selection: Selection, settings: Settings) -> dict[str, Estimate]:
    model, detector = settings.generic_model, settings.generic_detector
    asked = datasets_of_generic(selection.tables, detector)
    return {one.dataset: measure_generic(one, model, detector) for one in asked}


def put_together(
    selection: Selection,
    settings: Settings,
    config: ServerConfig,
    sweeps: Mapping[str, SweepResult],
    generic: Mapping[str, Estimate],
) -> Reproduction:
    """Tables and insights of finished sweeps."""
    rows = {name: result.rows for name, result in sweeps.items()}
    tables = assemble(selection.tables, rows, generic)
    look = in_ours(tables)
    return Reproduction(
        settings=settings,
        steps=config.finetune.steps,
        tables=tables,
        insights=judge_all(about(tables, INSIGHTS), look),
        findings=judge_all(about(tables, FINDINGS), look),
        sweeps=dict(sweeps),
        left_out=selection.left_out,
    )
