"""Keys of stages: what is shared, what is not, and what a run still has to execute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spinml.bundle import SanitizedSegment
from spinml.config import ServerConfig
from spinml.errors import ArtifactNotFoundError
from spinml.pipeline import local_files
from spinml.pipeline.plan import Plan, missing, union
from spinml.pipeline.planner import dataset_roles, make_plan
from spinml.pipeline.stages import Stage, StageKind
from spinml.request import Scheme, parse_request


def plan(target: str = "L2", background: str = "L0", **changes: Any) -> Plan:
    """The plan of the pet task under a preference; ``config`` and ``image`` may be changed."""
    config = ServerConfig.model_validate(changes.pop("config", {}))
    image = changes.pop("image", b"pixels")
    checkpoint = changes.pop("checkpoint", "home-1")
    request = parse_request(
        {
            "target_object": "dog",
            "background": "bedroom",
            "training_objective": "what is my dog doing",
            "label_classes": ["eating", "sleeping"],
            "privacy": {"target": target, "background": background},
        }
        | changes
    )
    segments = [
        segment("target", target, "dog", image),
        segment("background", background, "bedroom", image),
    ]
    return make_plan(request, segments, config, checkpoint)


def many(*schemes: str, mixture: tuple[tuple[str, ...], ...] = ()) -> Plan:
    """The plan of bottle, frame and bedroom under the preferences."""
    names = ("target", "target_2", "background")
    request = parse_request(
        {
            "target_objects": ["pill bottle", "photo frame"],
            "background": "bedroom",
            "training_objective": "is it open",
            "label_classes": ["open", "closed"],
            "privacy": dict(zip(names, schemes, strict=True)),
            "mixture": [dict(zip(names, each, strict=True)) for each in mixture],
        }
    )
    segments = [
        segment(name, scheme, request.words_of(name), f"{name} {scheme}".encode())
        for name, scheme in request.disclosures
    ]
    return make_plan(request, segments, ServerConfig(), "home-1")


def segment(name: Any, scheme: str, text: str, image: bytes) -> SanitizedSegment:
    feature = "canny" if scheme == "L1" else None
    images = () if scheme == "L0" else (image,)
    return SanitizedSegment(
        name=name, scheme=Scheme(scheme), text=text, feature=feature, images=images
    )


def digest(plan: Plan, label: str) -> str:
    return next(stage.digest for stage in plan if stage.label == label)


def kinds(plan: Plan) -> list[StageKind]:
    return [stage.kind for stage in plan if stage.kind is not StageKind.SEGMENT]


def test_the_same_request_has_the_same_keys() -> None:
    assert list(plan().stages) == list(plan().stages)
    assert plan().results == plan().results


@pytest.mark.parametrize("scheme", ["L0", "L1", "L2"])
def test_each_scheme_has_its_stages(scheme: str) -> None:
    wanted = {
        "L0": [],
        "L1": [StageKind.EXPAND, StageKind.PRIOR, StageKind.FINETUNE],
        "L2": [StageKind.PRIOR, StageKind.FINETUNE],
    }[scheme]
    last = [
        StageKind.DRAW,
        StageKind.GENERATE,
        StageKind.TRAIN,
        StageKind.EXPORT,
        StageKind.MEASURE,
    ]
    assert kinds(plan(scheme, "L0")) == wanted + last
    merge = [StageKind.MERGE] if wanted else []
    assert kinds(plan("L0", scheme)) == wanted + merge + last


def test_another_background_preference_keeps_the_target_and_its_drawings() -> None:
    plans = [plan("L2", background) for background in ("L0", "L1", "L2")]
    assert len({digest(each, "fine-tune target") for each in plans}) == 1
    assert len({digest(each, "draw target") for each in plans}) == 1
    assert len({each.results["dataset"] for each in plans}) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"config": {"finetune": {"steps": 7}}},
        {"checkpoint": "home-2"},
        {"image": b"other pixels"},
    ],
)
def test_what_a_fine_tune_depends_on_is_in_its_key(change: dict[str, Any]) -> None:
    assert digest(plan(**change), "fine-tune target") != digest(plan(), "fine-tune target")


@pytest.mark.parametrize("guess_labels", [False, True])
def test_a_fine_tune_depends_on_the_classes_where_captions_name_them(guess_labels: bool) -> None:
    config = {"finetune": {"guess_labels": guess_labels}}
    plans = [plan(config=config, label_classes=[one, "eating"]) for one in ("playing", "asleep")]
    assert len({digest(each, "fine-tune target") for each in plans}) == 1 + guess_labels


def test_what_the_base_model_draws_depends_on_its_batches() -> None:
    plans = [plan("L1", config={"generation": {"batch_size": size}}) for size in (4, 8)]
    for label in ("expand target from canny", "class images target"):
        assert len({digest(each, label) for each in plans}) == 2


def test_a_local_models_content_is_in_the_keys_of_what_takes_it(tmp_path: Path) -> None:
    weights, embedder = tmp_path / "weights.safetensors", tmp_path / "embedder"
    embedder.mkdir()
    config = {"training": {"weights": str(weights)}, "measure": {"embedder": str(embedder)}}
    found = []
    for content in (b"one", b"another"):
        weights.write_bytes(content)
        (embedder / "model.safetensors").write_bytes(content)
        found.append(plan(config=config))
    first, second = found
    assert first.results["dataset"] == second.results["dataset"]
    for role in ("model", "export", "measure"):
        assert first.results[role] != second.results[role]
    (embedder / "model.safetensors").write_bytes(b"a third")
    third = plan(config=config)
    assert third.results["model"] == second.results["model"]
    assert third.results["measure"] != second.results["measure"]


def test_the_bundled_checkpoints_content_is_in_the_keys_of_what_takes_a_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_files, "home_folder", lambda: tmp_path)
    found = []
    for content in (b"one release", b"the next"):
        (tmp_path / "segmenter.onnx").write_bytes(content)
        found.append((plan(task="detection", label_classes=["dog"]), plan()))
    (detector, classifier), (next_detector, next_classifier) = found
    assert detector.results["dataset"] == next_detector.results["dataset"]
    assert detector.results["model"] != next_detector.results["model"]
    assert classifier.results["model"] == next_classifier.results["model"]
    assert classifier.results["measure"] != next_classifier.results["measure"]


@pytest.mark.parametrize(
    ("setting", "redrawn"),
    [
        ({"background_guidance_scale": 5.0}, False),
        ({"scale_range": (0.3, 0.5)}, False),
        ({"guidance_scale": 5.0}, True),
        ({"images_per_class": 7}, True),
    ],
)
def test_drawings_depend_on_what_draws_them_alone(setting: dict[str, Any], redrawn: bool) -> None:
    other = plan(config={"generation": setting})
    assert other.results["dataset"] != plan().results["dataset"]
    assert (digest(other, "draw target") != digest(plan(), "draw target")) is redrawn


def test_a_request_may_want_larger_images_and_never_gets_smaller_ones() -> None:
    of_server, of_request = (plan(config={"generation": {"image_px": px}}) for px in (256, 128))
    same = plan(config={"generation": {"image_px": 128}}, image_px=256)
    assert same.results == of_server.results != of_request.results
    assert digest(same, "draw target") == digest(of_request, "draw target")
    for config in ({"preset": "sd15"}, {"generation": {"image_px": 512}}):
        assert plan(config=config, image_px=256).results == plan(config=config).results


def test_training_settings_change_no_dataset() -> None:
    other = plan(config={"training": {"epochs": 9}})
    assert other.results["dataset"] == plan().results["dataset"]
    assert other.results["model"] != plan().results["model"]


def test_resources_change_no_key() -> None:
    other = plan(config={"resources": {"generation_actors": 8}})
    assert list(other.stages) == list(plan().stages)


def test_a_union_holds_shared_stages_once() -> None:
    both = union([plan("L2", "L0"), plan("L2", "L2")])
    labels = [stage.label for stage in both]
    assert labels.count("fine-tune target") == 1
    assert labels.count("generate") == 2
    assert both.result("1.model").digest == plan("L2", "L2").results["model"]


def test_tenants_are_separate() -> None:
    stage = plan().result("dataset")
    assert stage.key("alice").path == f"alice/generate/{stage.digest}"
    assert stage.key("alice") != stage.key("bob")


def test_only_what_a_missing_stage_needs_is_executed() -> None:
    whole = plan("L2", "L2")
    there = {digest(whole, "segment target"), digest(whole, "segment background")}
    assert missing(whole, lambda stage: stage.digest in there) == [
        stage for stage in whole if stage.kind is not StageKind.SEGMENT
    ]
    there |= {whole.results["dataset"], whole.results["model"]}
    left = missing(whole, lambda stage: stage.digest in there)
    assert [stage.kind for stage in left] == [StageKind.EXPORT, StageKind.MEASURE]
    assert missing(whole, lambda stage: True) == []
    with pytest.raises(ArtifactNotFoundError):
        missing(whole, lambda stage: False)


def test_a_plan_has_inputs_first() -> None:
    first = Stage(StageKind.MERGE, {})
    second = Stage(StageKind.MERGE, {"n": 2}, {"tuned_unet": first.digest})
    with pytest.raises(ValueError, match="tuned_unet"):
        Plan({second.digest: second, first.digest: first}, {})
    with pytest.raises(ValueError, match="model"):
        Plan({first.digest: first}, {"model": "none"})


def test_each_object_has_a_chain_of_its_own() -> None:
    both = many("L2", "L1", "L2")
    generate = both.result("dataset")
    assert generate.inputs == {
        "target_objects": digest(both, "draw target"),
        "target_2_objects": digest(both, "draw target_2"),
        "inpainting_unet": digest(both, "merge background"),
    }
    tuned = both.stages[generate.inputs["target_2_objects"]].inputs["unet"]
    assert both.stages[tuned].inputs["references"] == digest(both, "expand target_2 from canny")
    chains = [
        _upstream(both, generate.inputs[f"{name}_objects"]) for name in ("target", "target_2")
    ]
    assert not chains[0] & chains[1]


def _upstream(plan: Plan, digest: str) -> set[str]:
    inputs = plan.stages[digest].inputs.values()
    return {digest}.union(*(_upstream(plan, source) for source in inputs))


def test_an_object_at_words_has_no_chain() -> None:
    plan_ = many("L0", "L2", "L0")
    inputs = plan_.result("dataset").inputs
    assert set(inputs) == {"target_objects", "target_2_objects"}
    assert plan_.stages[inputs["target_objects"]].inputs == {}
    assert kinds(plan_).count(StageKind.FINETUNE) == 1


def test_another_scheme_of_one_object_keeps_the_others_fine_tune() -> None:
    first, second = many("L2", "L1", "L0"), many("L2", "L2", "L0")
    assert digest(first, "fine-tune target") == digest(second, "fine-tune target")
    assert digest(first, "fine-tune target_2") != digest(second, "fine-tune target_2")


def test_the_second_objects_name_is_in_the_datasets_key() -> None:
    assert many("L0", "L0", "L0").results["dataset"] not in plan("L0", "L0").stages


def test_a_mixture_generates_for_each_preference_and_trains_once() -> None:
    mixed = many("L2", "L1", "L0", mixture=(("L0", "L0", "L0"), ("L2", "L0", "L2")))
    found = kinds(mixed)
    assert found.count(StageKind.GENERATE) == 3
    assert found.count(StageKind.FINETUNE) == 3  # target L2 once, target_2 L1, background L2
    assert found.count(StageKind.TRAIN) == 1
    datasets = {role: mixed.results[role] for role in ("dataset", "dataset_2", "dataset_3")}
    assert mixed.result("model").inputs == datasets
    for role in ("export", "measure"):
        assert mixed.result(role).inputs == datasets | {"model": mixed.results["model"]}
    assert dataset_roles(mixed.results) == ["dataset", "dataset_2", "dataset_3"]
    labels = [stage.label for stage in mixed]
    assert {"generate (L2, L1, L0)", "generate (L0, L0, L0)"} <= set(labels)


def test_a_mixture_takes_what_its_parts_made_alone() -> None:
    mixed = many("L2", "L1", "L0", mixture=(("L0", "L0", "L0"),))
    alone = [many("L2", "L1", "L0"), many("L0", "L0", "L0")]
    assert [mixed.results[role] for role in ("dataset", "dataset_2")] == [
        each.results["dataset"] for each in alone
    ]
    there = union(alone)
    left = missing(mixed, lambda stage: stage.digest in there.stages)
    assert [stage.kind for stage in left] == [
        StageKind.TRAIN,
        StageKind.EXPORT,
        StageKind.MEASURE,
    ]


def test_stages_of_one_segment_at_two_schemes_are_told_apart() -> None:
    mixed = many("L2", "L0", "L0", mixture=(("L1", "L0", "L0"),))
    labels = [stage.label for stage in mixed]
    assert {"fine-tune target at L1", "fine-tune target at L2"} <= set(labels)
    assert {"draw target at L1", "draw target at L2", "draw target_2"} <= set(labels)
    assert labels.count("class images target") == 1
    assert len(labels) == len(set(labels)) + labels.count("segment target") - 1


def test_a_segment_is_needed_until_what_takes_it_is_done() -> None:
    whole = plan("L2", "L1")
    sent = {s.label.split()[1]: s.digest for s in whole if s.kind is StageKind.SEGMENT}
    assert whole.needed_segments(()) == set(sent.values())
    done = {digest(whole, "expand background from canny")}
    assert whole.needed_segments(done) == {sent["target"]}
    done.add(digest(whole, "fine-tune target"))
    assert whole.needed_segments(done) == set()


def test_words_alone_are_needed_by_no_stage() -> None:
    words = plan("L0", "L0")
    assert words.needed_segments(()) == set()
    gone = missing(words, lambda stage: False)
    assert [stage.kind for stage in gone] == kinds(words)


def test_a_detection_has_its_own_settings_and_leaves_the_classifiers_keys_alone() -> None:
    detection = plan(task="detection", label_classes=["dog"])
    assert kinds(detection) == kinds(plan())
    train = detection.result("model")
    assert train.detects
    assert train.params["settings"] == ServerConfig().detection.model_dump()
    assert detection.result("export").params["image_px"] == ServerConfig().detection.image_px
    tuned = next(stage for stage in detection if stage.kind is StageKind.FINETUNE)
    assert tuned.params["label_classes"] == []
    other = plan(config={"detection": {"epochs": 9}})
    assert other.results == plan().results
    for stage in plan():
        assert "task" not in stage.params
        assert not stage.detects
