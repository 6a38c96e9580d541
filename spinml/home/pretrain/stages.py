"""The stages in their order; each is a function of a workspace and a budget."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module

from spinml.home.pretrain.loop import Figures, LoopSettings
from spinml.home.pretrain.workspace import Workspace

Stage = Callable[[Workspace, LoopSettings], Figures]

# Minutes on two CPU cores. Each stage needs what stands above it.
MINUTES: dict[str, float] = {
    "vae": 22,
    "text_image": 5,
    "judge": 2,
    "latents": 0,
    "unet": 40,
    "inpaint": 12,
    "controlnet_canny": 8,
    "controlnet_pose": 6,
    "controlnet_box": 6,
    "segmenter": 10,
}


def run_stage(name: str, data: Workspace, loop: LoopSettings) -> Figures:
    """Run one stage by name; its module is imported only now."""
    if name not in MINUTES:
        raise ValueError(f"stage is {name!r}, wanted one of {', '.join(MINUTES)}")
    prefix, _, feature = name.partition("controlnet_")
    module = import_module(f"spinml.home.pretrain.{prefix or 'controlnet'}")
    stage: Stage = partial(module.run, feature=feature) if feature else module.run
    return stage(data, loop)
