"""What the device installs: the wheel and its base dependencies, no torch, no ray, and it works."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spinml.images import encode_png
from tests.photos import cat, ellipse

ROOT = Path(__file__).parents[2]
SERVER_SIDE = ("torch", "ray", "diffusers", "transformers", "fastapi", "ultralytics")


def call(*command, cwd, **environment):
    result = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**os.environ, **environment},
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


@pytest.mark.slow
def test_the_wheel_alone_previews(tmp_path):
    call(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", tmp_path, ROOT, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    call(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    call(python, "-m", "pip", "install", "-q", f"{wheel}[device]", cwd=tmp_path)

    (tmp_path / "cat.png").write_bytes(encode_png(cat()))
    (tmp_path / "mask.png").write_bytes(encode_png(ellipse().astype(np.uint8) * 255))
    request = (ROOT / "examples" / "pet.yaml").read_text()
    (tmp_path / "request.yaml").write_text(request)
    told = call(
        tmp_path / "venv" / "bin" / "spinml", "device", "preview", "request.yaml", "cat.png",
        "--mask", "mask.png", "--json", cwd=tmp_path,
    )  # fmt: skip
    assert json.loads(told)["segments"][0]["images"] == 1
    assert (tmp_path / "preview.html").is_file()

    find = (
        "import importlib.util, sys; "
        "print([m for m in sys.argv[1:] if importlib.util.find_spec(m)])"
    )
    assert call(python, "-c", find, *SERVER_SIDE, cwd=tmp_path).strip() == "[]"


def test_importing_the_device_imports_no_server_side():
    code = (
        "import spinml.device.cli, spinml.device.measures, sys; "
        "print([m for m in sys.argv[1:] if m in sys.modules])"
    )
    assert call(sys.executable, "-c", code, *SERVER_SIDE, cwd=ROOT).strip() == "[]"


@pytest.mark.parametrize("package", ["privacy", "device"])
def test_only_the_rules_unseal_bundles(package):
    """bundle.seal() makes an unchecked bundle: on the device, privacy.rules alone may call it."""
    callers = [
        path.name
        for path in (ROOT / "spinml" / package).rglob("*.py")
        if "seal(" in path.read_text()
    ]
    assert callers == (["rules.py"] if package == "privacy" else [])
