"""The image: pinned, not root, and what the manifests run."""

from __future__ import annotations

import re
from importlib.metadata import version

import yaml

from spinml import __version__
from tests.cluster.manifests import ROOT, cluster_specs, every_manifest, one, pod_specs

DOCKERFILE = (ROOT / "cluster" / "Dockerfile").read_text()


def stages() -> dict[str, str]:
    """Target → its text."""
    parts = re.split(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)
    return dict(zip(parts[2::3], parts[3::3], strict=True))


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def test_all_is_pinned() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE)
    assert [base for base in bases if base not in stages()] == ["python:${PYTHON}-slim-bookworm"]
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", DOCKERFILE, flags=re.MULTILINE))
    assert arguments["TORCH"] == pins()["torch"]
    assert arguments["TORCHVISION"] == pins()["torchvision"]
    assert arguments["PYTHON"].startswith("3.11.")
    for install in re.findall(r"pip install (.*(?:\\\n.*)*)", DOCKERFILE):
        assert "-c constraints.txt" in install or "download.pytorch.org" in install
    for spec in cluster_specs().values():
        assert spec["rayVersion"] == pins()["ray"] == version("ray")


def test_both_targets_end_as_a_user_who_is_not_root() -> None:
    for target in ("cpu", "cuda"):
        users = re.findall(r"^USER (\S+)$", stages()[target], flags=re.MULTILINE)
        assert users == ["1000:1000"]
        assert re.search(r"^WORKDIR /home/spinml$", stages()[target], flags=re.MULTILINE)


def test_the_manifests_run_this_version_and_cuda_where_there_are_gpus() -> None:
    config = yaml.safe_load((ROOT / "cluster" / "aws.yaml").read_text())
    assert config["docker"]["head_image"] == f"spinml:{__version__}-cpu"
    assert config["docker"]["worker_image"] == f"spinml:{__version__}-cuda"
    for manifest in every_manifest():
        for pod in pod_specs(manifest):
            for container in pod["containers"]:
                if container["name"] == "redis":
                    continue
                gpu = "nvidia.com/gpu" in container["resources"]["limits"]
                assert container["image"] == f"spinml:{__version__}-{'cuda' if gpu else 'cpu'}"


def test_it_has_the_terminal_that_the_readme_starts_the_service_in() -> None:
    assert "ray exec --tmux" in (ROOT / "cluster" / "README.md").read_text()
    (packages,) = re.findall(r"apt-get install ((?:.*\\\n)*.*)", stages()["base"])
    assert "tmux" in packages.split()


def test_the_job_runs_a_script_of_the_image_with_options_that_it_has() -> None:
    words = one("RayJob")["spec"]["entrypoint"].split()
    assert "WORKDIR /opt/spinml" in stages()["base"]
    assert "COPY jobs ./jobs" in stages()["cpu"]
    assert "COPY jobs ./jobs" in stages()["cuda"]
    script = ROOT / words[1].removeprefix("/opt/spinml/")
    source = script.read_text()
    for option in {word for word in words if word.startswith("--")}:
        name = option.removeprefix("--").replace("-", "_")
        assert f'"{option}"' in source or re.search(rf"^    {name}: ", source, re.MULTILINE)
