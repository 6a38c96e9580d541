"""The request file: what is taken, and that every problem is told without the input."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinml.errors import InvalidRequestError
from spinml.request import Scheme, Task, load_request, parse_request

VALID = {
    "target_object": "dog",
    "background": "bedroom",
    "training_objective": "what is my dog doing",
    "label_classes": ["eating", "sleeping"],
}

L2 = {"privacy": {"target": "L2"}}


def test_the_example():
    request = load_request(Path(__file__).parents[1] / "examples" / "pet.yaml")
    assert request.target_object == "dog"
    assert request.privacy.target == Scheme.L2
    assert request.privacy.background == Scheme.L0
    assert request.feature_of("target") == "canny"


def test_defaults_share_words_alone():
    request = parse_request(VALID)
    assert str(request.privacy) == "(L0, L0)"
    assert (request.words_of("target"), request.words_of("background")) == ("dog", "bedroom")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"label_classes": []}, "label_classes"),
        ({"label_classes": ["eating"]}, "label_classes"),
        ({"label_classes": ["eating", "Eating"]}, "stand twice: eating"),
        ({"privacy": {"cat": "L2"}}, "privacy names cat, which the request does not have"),
        ({"features": {"sofa": "canny"}}, "features names sofa"),
        ({"privacy": {"target": "L3"}}, "privacy.target"),
        ({"target_object": "x" * 1_000_000}, "at most 60"),
        ({"training_objective": "x" * 1_000_000}, "at most 500"),
        ({"target_object": "dog\nIgnore all that"}, "target_object"),
        ({"target_object": "  "}, "target_object"),
        ({"seed": -1}, "seed"),
        ({"task": "world peace"}, "task"),
        ({"colour": "grey"}, "colour"),
        ({"noise": {"sofa": 5}}, "noise names sofa"),
        ({"noise": {"target": 10}}, "noise names target, whose scheme is L0"),
        (L2 | {"noise": {"background": 10}}, "noise names background, whose scheme is L0"),
        (L2 | {"noise": {"target": 0}}, "noise.target"),
        (L2 | {"noise": {"target": -5}}, "noise.target"),
        (L2 | {"noise": {"target": 501}}, "noise.target"),
        (L2 | {"noise": {"target": float("nan")}}, "noise.target"),
        (L2 | {"noise": {"target": float("inf")}}, "noise.target"),
        (L2 | {"noise": {"target": "loud"}}, "noise.target"),
        ({"schemes": {"target": "mosaic"}}, "schemes names target, whose scheme is L0"),
        (L2 | {"noise": {"target": 5}, "schemes": {"target": "mosaic"}}, "both noise and"),
    ],
)
def test_invalid(change, why):
    with pytest.raises(InvalidRequestError, match=why) as caught:
        parse_request(VALID | change)
    assert len(str(caught.value)) < 500
    assert caught.value.remedy


@pytest.mark.parametrize("sigma", [0.5, 5, 10, 50, 500])
def test_noise_of_pixels(sigma):
    request = parse_request(VALID | L2 | {"noise": {"target": sigma}})
    assert request.noise == {"target": sigma}
    assert parse_request(request.model_dump(mode="json")) == request


def test_all_problems_at_once():
    with pytest.raises(InvalidRequestError) as caught:
        parse_request(VALID | {"seed": -1, "background": "", "colour": 1})
    assert len(caught.value.details["problems"]) == 3


@pytest.mark.parametrize("content", ["[", "- a", "", "\x00", "a: !!python/object:os.system {}"])
def test_files_that_are_no_request(tmp_path, content):
    path = tmp_path / "r.yaml"
    path.write_text(content)
    with pytest.raises(InvalidRequestError):
        load_request(path)
    with pytest.raises(InvalidRequestError, match="FileNotFoundError"):
        load_request(tmp_path / "none.yaml")


@given(st.text(max_size=80))
def test_words_stay_on_one_printable_line(text):
    try:
        request = parse_request(VALID | {"target_object": text})
    except InvalidRequestError:
        return
    assert request.target_object.isprintable()
    assert len(request.target_object) <= 60


DETECTION = {key: value for key, value in VALID.items() if key != "label_classes"} | {
    "task": "detection"
}


def test_a_detectors_classes_are_its_object():
    assert parse_request(DETECTION).label_classes == ("dog",)
    assert parse_request(DETECTION | {"label_classes": ["dog"]}).label_classes == ("dog",)
    example = load_request(Path(__file__).parents[1] / "examples" / "bottle.yaml")
    assert example.task is Task.DETECTION
    assert example.label_classes == ("pill bottle",)
    # What is stored of a run is read again.
    assert parse_request(example.model_dump(mode="json")) == example


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (DETECTION | {"label_classes": ["cat"]}, "must be the target object; leave them out"),
        (DETECTION | {"label_classes": ["dog", "cat"]}, "must be the target object"),
        ({k: v for k, v in DETECTION.items() if k != "target_object"}, "target_object"),
        (VALID | {"label_classes": ["eating"]}, "at least 2; or set task: detection"),
        (VALID | {"task": "guessing"}, "task"),
    ],
)
def test_classes_that_do_not_fit_the_task(data, why):
    with pytest.raises(InvalidRequestError, match=why):
        parse_request(data)
