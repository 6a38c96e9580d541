"""Weights come from safetensors and ONNX; a pickle from outside is refused, never read."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import spinml
from spinml.config import CheckpointConfig
from spinml.errors import CheckpointError, UnsafeWeightsError
from spinml.synthesis.checkpoint import Checkpoint
from spinml.training.embedders import HubEmbedder
from spinml.training.zero_shot import load_parts

SOURCES = sorted(Path(spinml.__file__).parent.rglob("*.py"))
UNWEIGHTED = ("Tokenizer", "Processor", "Scheduler")
LOADS = re.compile(r"\.loads?\(|from_pretrained|get_state_dict|trust_remote_code")
OWN_STATE = Path("home") / "pretrain"
"""Reads what the same folder's stages wrote a moment ago on the same machine."""


class Trap:
    """What a hostile pickle does: it runs."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


def as_pickle(folder: Path, mark: Path) -> None:
    """Put a pickle in place of the folder's safetensors; whole, and with a trap."""
    (weights,) = folder.glob("*.safetensors")
    name = {"model": "pytorch_model"}.get(weights.stem, weights.stem)
    torch.save({**load_file(weights), "trap": Trap(mark)}, folder / f"{name}.bin")
    weights.unlink()


@pytest.mark.parametrize("part", ["vae", "unet", "text_encoder"])
def test_a_part_with_pickled_weights_alone(
    checkpoint_folder: Path, tmp_path: Path, part: str
) -> None:
    folder = shutil.copytree(checkpoint_folder, tmp_path / "pickled")
    as_pickle(folder / part, tmp_path / "ran")
    with pytest.raises(UnsafeWeightsError, match="pickle alone") as caught:
        Checkpoint.load(CheckpointConfig(base=str(folder), resolution_px=64))
    assert caught.value.details["parts"] == [part]
    assert "safetensors" in caught.value.remedy
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("part", ["controlnet_canny", "inpainting/unet"])
def test_parts_that_are_loaded_later(checkpoint_folder: Path, tmp_path: Path, part: str) -> None:
    folder = shutil.copytree(checkpoint_folder, tmp_path / "pickled")
    as_pickle(folder / part, tmp_path / "ran")
    checkpoint = Checkpoint.load(CheckpointConfig(base=str(folder), resolution_px=64))
    with pytest.raises(UnsafeWeightsError):
        checkpoint.controlnet("canny") if "canny" in part else checkpoint.inpainting_unet()
    assert not (tmp_path / "ran").exists()


def test_a_pickle_beside_safetensors_is_not_read(checkpoint_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint_folder, tmp_path / "both")
    torch.save(Trap(tmp_path / "ran"), folder / "unet" / "diffusion_pytorch_model.bin")
    Checkpoint.load(CheckpointConfig(base=str(folder), resolution_px=64))
    assert not (tmp_path / "ran").exists()


def test_other_models_of_transformers(checkpoint_folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForZeroShotImageClassification

    folder = shutil.copytree(checkpoint_folder / "text_encoder", tmp_path / "generic")
    as_pickle(folder, tmp_path / "ran")
    with pytest.raises(CheckpointError):
        load_parts(str(folder), AutoModelForZeroShotImageClassification)
    with pytest.raises(CheckpointError):
        HubEmbedder(str(folder))
    assert not (tmp_path / "ran").exists()


def calls() -> list[tuple[Path, ast.Call, str]]:
    """Every call ``x.name(…)`` of the package, with ``x.name`` as it is written."""
    return [
        (path, node, ast.unparse(node.func))
        for path in SOURCES
        for source in [path.read_text(encoding="utf-8")]
        if LOADS.search(source)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]


def test_every_loader_says_so() -> None:
    """In the source: weights by safetensors, no pickle that runs code, no code from the hub."""
    seen = 0
    for path, call, name in calls():
        told = {option.arg: ast.unparse(option.value) for option in call.keywords}
        where = f"{path.name}:{call.lineno} {name}"
        assert told.get("trust_remote_code") is None, where
        assert name not in ("pickle.load", "pickle.loads", "joblib.load"), where
        if name == "np.load":
            assert told.get("allow_pickle", "False") == "False", where
        if str(OWN_STATE) in str(path):
            continue
        if name == "torch.load" or name.endswith("_V2.get_state_dict"):
            assert told.get("weights_only") == "True", where
        if name.endswith(".from_pretrained") and not name.removesuffix(".from_pretrained").endswith(
            UNWEIGHTED
        ):
            options = "options" in [ast.unparse(o.value) for o in call.keywords if o.arg is None]
            assert told.get("use_safetensors") == "True" or options, where
            seen += 1
    assert seen >= 4
