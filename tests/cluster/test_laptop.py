"""The two configurations for one machine: they must give the same figures."""

from __future__ import annotations

from pathlib import Path

from spinml.config import load_config

CLUSTER = Path(__file__).parents[2] / "cluster"


def test_the_configuration_for_sweeps_differs_in_what_stages_hold_alone() -> None:
    once, sweep = (load_config(CLUSTER / name) for name in ("laptop.yaml", "laptop-sweep.yaml"))
    assert once.model_dump(exclude={"resources"}) == sweep.model_dump(exclude={"resources"})
    held = sweep.resources
    assert held.generation_actors == 1
    heavy = (held.diffusion, held.generation, held.training)
    assert [one.num_cpus for one in heavy] == [1, 1, 1], "as many trials at once as cores"
