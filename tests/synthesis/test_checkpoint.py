from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CLIPTokenizer

from spinml.config import CheckpointConfig, ServerConfig
from spinml.errors import CheckpointError, ConfigError
from spinml.synthesis.checkpoint import Checkpoint
from spinml.synthesis.compute import select_device
from spinml.synthesis.identity import checkpoint_identity, locate, source_identity
from spinml.synthesis.sources import Source


def test_a_folder_is_loaded_with_its_parts(checkpoint: Checkpoint) -> None:
    assert checkpoint.latent_shape == (4, 8, 8)
    assert checkpoint.inpainting_unet().config.in_channels == 9
    assert checkpoint.controlnet("canny") is not None
    assert checkpoint.text_image is not None
    assert checkpoint.base_unet().dtype is torch.float32


def test_every_missing_part_is_named_at_once(checkpoint_folder: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(checkpoint_folder, tmp_path / "broken")
    shutil.rmtree(broken / "vae")
    (broken / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.load(CheckpointConfig(base=str(broken), resolution_px=64))
    assert caught.value.details["parts"] == ["vae", "unet"]
    assert caught.value.remedy


def test_a_missing_controlnet_is_named(checkpoint: Checkpoint) -> None:
    with pytest.raises(CheckpointError, match="controlnet_depth"):
        checkpoint.controlnet("depth")


def test_sd15_names_its_controlnets_and_refuses_other_features(checkpoint: Checkpoint) -> None:
    """What a hub's preset does not name is refused before the network is asked."""
    named = ServerConfig.model_validate({"preset": "sd15"}).checkpoint
    assert set(named.controlnets) == {"canny", "depth", "pose", "soft_edges"}
    other = Checkpoint(
        named,
        checkpoint.compute,
        checkpoint.vae,
        checkpoint.tokenizer,
        checkpoint.text_encoder,
        checkpoint.unet,
        checkpoint.scheduler(1),
    )
    with pytest.raises(CheckpointError, match="no ControlNet for the feature 'box'") as caught:
        other.controlnet("box")
    assert "canny, depth, pose, soft_edges" in caught.value.remedy


def test_a_resolution_that_the_unet_cannot_halve_is_refused(checkpoint_folder: Path) -> None:
    with pytest.raises(CheckpointError, match="multiple of 16"):
        Checkpoint.load(CheckpointConfig(base=str(checkpoint_folder), resolution_px=72))


def test_identity_follows_the_content_not_the_place(
    config: ServerConfig, checkpoint_folder: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(checkpoint_folder, tmp_path / "copy")
    moved = config.checkpoint.model_copy(update={"base": str(copy)})
    assert checkpoint_identity(moved) == checkpoint_identity(config.checkpoint)
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert checkpoint_identity(moved) != checkpoint_identity(config.checkpoint)


def test_identity_of_a_hub_model_is_its_name_and_revision() -> None:
    first = CheckpointConfig(base="owner/model@a", controlnets={"canny": "owner/other"})
    assert checkpoint_identity(first) == checkpoint_identity(first)
    for change in ({"base": "owner/model@b"}, {"controlnets": {"canny": "owner/other@a"}}):
        assert checkpoint_identity(first) != checkpoint_identity(first.model_copy(update=change))
    assert source_identity("owner/model") == source_identity("owner/model@main")


@pytest.mark.parametrize("name", ["owner/model@refs/pr/3", "owner/model"])
def test_a_hub_model_is_asked_for_at_its_revision(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def from_pretrained(name: str, **options: Any) -> str:
        asked.append((name, options["subfolder"], options["revision"]))
        return "loaded"

    monkeypatch.setattr(CLIPTokenizer, "from_pretrained", from_pretrained)
    assert Source.find(name).load(CLIPTokenizer, "tokenizer") == "loaded"
    assert asked == [("owner/model", "tokenizer", name.partition("@")[2] or None)]


def test_weights_that_are_there_at_half_precision_alone_are_taken(
    checkpoint_folder: Path, tmp_path: Path
) -> None:
    """As those of SD 1.5's inpainting model are on the hub."""
    copy = shutil.copytree(checkpoint_folder, tmp_path / "half")
    folder = copy / "inpainting" / "unet"
    plain = folder / "diffusion_pytorch_model.safetensors"
    plain.rename(folder / "diffusion_pytorch_model.fp16.safetensors")
    config = CheckpointConfig(base=str(copy), resolution_px=64)
    assert Checkpoint.load(config).inpainting_unet().config.in_channels == 9
    (folder / "diffusion_pytorch_model.fp16.safetensors").unlink()
    with pytest.raises(CheckpointError, match="inpainting/unet"):
        Checkpoint.load(config).inpainting_unet()


@pytest.mark.parametrize("name", ["/no/such/folder", "./nothing", "nothing"])
def test_a_name_that_is_nothing_is_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match="neither a folder"):
        locate(name)


def test_planning_imports_no_torch() -> None:
    imports = "import sys, spinml.synthesis.identity, spinml.synthesis.shards"
    code = f"{imports}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_process_without_a_gpu_cannot_be_told_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert select_device("auto").type == "cpu"
    with pytest.raises(ConfigError, match="no GPU"):
        select_device("cuda")
