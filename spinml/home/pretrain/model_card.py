"""The checkpoint's model card, written from the stages' figures."""
# ruff: noqa: E501 - a Markdown table has long lines

from __future__ import annotations

from spinml.home.pretrain.loop import Figures

_CARD = """\
# The checkpoint `home`

A latent diffusion model small enough for two CPU cores ({size_mb:.0f} MB at half precision), for
SpinML's simulated home. It stands where Stable Diffusion 1.5 stands in production, with the same
classes and folder layout.

## What is inside
| folder | class | what |
|---|---|---|
| `vae` | AutoencoderKL | 128 px to 16 x 16 x 16 latents |
| `tokenizer`, `text_encoder` | CLIPTokenizer, CLIPTextModel | own byte-pair vocabulary, 2 layers x 128 |
| `unet`, `scheduler` | UNet2DConditionModel, DPMSolverMultistepScheduler | v-prediction, guidance about 3, 20 steps |
| `inpainting/unet` | UNet2DConditionModel | 33 channels: noisy latents, mask (1 = repaint), masked image |
| `controlnet_canny`, `_pose`, `_box` | ControlNetModel | the device's maps of the object: canny edges, OpenPose's skeleton (persons), filled box |
| `text_image` | CLIPTextModelWithProjection, ONNX | contrastive encoder; `embedder.onnx` is SIM's default |
| `segmenter` | YOLOv8n-seg, ONNX | `dog`, `person`, `pill bottle`, `photo frame` |

## What it was trained on
{scenes} objects in scenes of SpinML's public world: MuJoCo renders of dogs of any fur (dm_control's dog,
Apache-2.0), senior persons in any clothes, pill bottles and photo frames in rooms of any colour, each
as scene, empty room and object on plain ground, with captions made from the scene's parameters. No photograph and no private home is among them. Nothing was taken
from other models' weights. `jobs/render_home.py` and `jobs/pretrain_home.py` make it again.

## How, and what came out
Stages in order; the contrastive text tower is frozen before the UNet is trained. Figures are of
held-out renders, `figures.json` holds them too.

{figures}

`status_*` is zero-shot, among the statuses of the object (bottles against frames); `label_accuracy*`
is the share of generated objects in which a classifier of public renders (`judge`) sees the object and
status that the prompt asked for, `label_without_words*` the same of what ControlNets drew from a map
and the object's name alone; `loss_right_caption` and
`loss_wrong_caption` are the loss at t = 800 with the right and with another status in the caption;
`silhouette_iou` compares what the ControlNet drew with the object whose map it got; `*_of_start` is
what an earlier training of the same stage had spent, from whose weights this one started. The
ControlNets for pose and box started from canny's.

## What it is not good for
- Anything but simulated dogs, persons, bottles, frames and rooms at 128 px: it has seen no photograph.
- Words beyond the captions': other words are encoded but mean nothing before fine-tuning.
- Fine detail: latents are 8 px wide, and small furniture comes out as blots.
- The segmenter knows four classes and renders only; give masks for real photographs.

## Licence
Apache-2.0, except `segmenter/`: it is an ultralytics model, and ultralytics is AGPL-3.0.
"""


def model_card(figures: dict[str, Figures], scenes: int, size_mb: float) -> str:
    """The card as Markdown."""
    return _CARD.format(figures=_table(figures), scenes=f"{scenes:,}", size_mb=size_mb)


def _table(figures: dict[str, Figures]) -> str:
    rows = ["| stage | figure | value |", "|---|---|---|"]
    for stage, values in figures.items():
        rows += [f"| {stage} | {name} | {value:.4g} |" for name, value in values.items()]
    return "\n".join(rows)
