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


@pytest.mark.parametrize(
    ("name", "task", "target", "feature"),
    [
        ("pet", Task.CLASSIFICATION, Scheme.L2, "canny"),
        ("human", Task.CLASSIFICATION, Scheme.L1, "pose"),
        ("bottle", Task.DETECTION, Scheme.L1, "canny"),
    ],
)
def test_the_examples(name, task, target, feature):
    request = load_request(Path(__file__).parents[1] / "examples" / f"{name}.yaml")
    assert request.task == task
    assert request.privacy.target == target
    assert request.privacy.background == Scheme.L0
    assert request.feature_of("target") == feature


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


@pytest.mark.parametrize("between", ["\n", "\x1b[2J", "\x00", "\x85", "\u2028", "\u202e"])
def test_the_objective_is_one_printable_line(between):
    with pytest.raises(InvalidRequestError, match="training_objective"):
        parse_request(VALID | {"training_objective": f"a{between}b"})


@pytest.mark.parametrize(
    "text", ["Is it ok? 100 %!", "犬は何を　しているか", "où: «là\u00a0»", "🐕 a|b"]
)
def test_the_objective_may_have_any_letters_and_signs(text):
    assert parse_request(VALID | {"training_objective": f" {text}\n"}).training_objective == text


@given(st.text(max_size=80))
def test_words_stay_on_one_printable_line(text):
    try:
        request = parse_request(VALID | {"target_object": text})
    except InvalidRequestError:
        return
    assert request.target_object.isprintable()
    assert len(request.target_object) <= 60


TWO = {
    "target_objects": ["pill bottle", "photo frame"],
    "background": "bedroom",
    "training_objective": "where are they",
    "label_classes": ["full", "empty"],
}


def test_one_object_and_several_are_one_tuple():
    assert parse_request(VALID).target_objects == ("dog",)
    request = parse_request(TWO)
    assert request.target_object == "pill bottle"
    assert request.segments == ("target", "target_2", "background")
    assert request.words_of("target_2") == "photo frame"
    assert request.words_of("background") == "bedroom"
    assert parse_request(request.model_dump(mode="json")) == request


@pytest.mark.parametrize(
    "privacy",
    [
        {"target": "L1", "target_2": "L2", "background": "L0"},
        {"pill bottle": "L1", "Photo  Frame": "L2"},
        {"target": "L1", "photo frame": "L2"},
    ],
)
def test_a_key_is_a_segment_or_an_objects_words(privacy):
    request = parse_request(
        TWO | {"privacy": privacy, "features": {"pill bottle": "box"}, "noise": {"photo frame": 5}}
    )
    assert str(request.privacy) == "(L1, L2, L0)"
    assert [request.privacy.of(name) for name in request.segments] == ["L1", "L2", "L0"]
    assert (request.feature_of("target"), request.feature_of("target_2")) == ("box", "canny")
    assert request.noise == {"target_2": 5}


def test_a_preference_for_one_object_leaves_the_others_at_words():
    request = parse_request(TWO | {"privacy": {"photo frame": "L2"}})
    assert str(request.privacy) == "(L0, L2, L0)"
    assert hash(request.privacy) == hash(
        parse_request(TWO | {"privacy": {"target_2": "L2"}}).privacy
    )


def test_a_mixture_discloses_what_all_its_preferences_need():
    mixture = [{"target": "L0"}, {"target": "L1", "target_2": "L2"}]
    request = parse_request(TWO | {"privacy": {"target": "L2"}, "mixture": mixture})
    assert [str(each) for each in request.preferences] == [
        "(L2, L0, L0)", "(L0, L0, L0)", "(L1, L2, L0)",
    ]  # fmt: skip
    assert request.disclosures == (
        ("target", "L1"), ("target", "L2"), ("target_2", "L2"), ("background", "L0"),
    )  # fmt: skip
    assert parse_request(request.model_dump(mode="json")) == request


def test_noise_on_pixels_that_only_a_mixture_shares():
    request = parse_request(VALID | {"mixture": [{"target": "L2"}], "noise": {"dog": 10}})
    assert request.noise == {"target": 10}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"target_object": "dog"}, "either target_object or target_objects"),
        ({"target_objects": []}, "target_objects"),
        ({"target_objects": [f"thing {n}" for n in range(9)]}, "at most 8"),
        ({"target_objects": ["dog", "Dog"]}, "target objects must differ, these stand twice: dog"),
        ({"target_objects": ["dog", "target_2"]}, "cannot be called target_2"),
        ({"target_objects": ["dog", 7]}, "target_objects.1"),
        (
            {"privacy": {"cat": "L2"}},
            r"may name target \(pill bottle\), target_2 \(photo frame\) and background",
        ),
        ({"privacy": {"target_3": "L2"}}, "privacy names target_3"),
        ({"privacy": {"target": "L2", "pill bottle": "L0"}}, "privacy names target twice"),
        ({"mixture": [{"sofa": "L2"}]}, "mixture.0 names sofa"),
        ({"mixture": [{}]}, "mixture.0 is empty"),
        ({"mixture": [{"target": "L0"}]}, r"repeats the preference \(L0, L0, L0\)"),
        ({"mixture": [{"target": "L2"}, {"pill bottle": "L2"}]}, r"repeats .*\(L2, L0, L0\)"),
        ({"mixture": [{"target": "L9"}]}, "mixture.0.target"),
        ({"mixture": "L0"}, "mixture"),
        ({"noise": {"photo frame": 5}}, "noise names target_2, whose scheme is L0"),
        ({"image_px": 100}, "image_px: Input should be a multiple of 8"),
        ({"image_px": 2048}, "image_px: Input should be less than or equal to 1024"),
    ],
)
def test_invalid_objects_and_mixtures(change, why):
    with pytest.raises(InvalidRequestError, match=why) as caught:
        parse_request(TWO | change)
    assert len(str(caught.value)) < 500


def test_a_request_without_any_object_says_so():
    with pytest.raises(InvalidRequestError, match="target_objects"):
        parse_request({key: VALID[key] for key in VALID if key != "target_object"} | L2)


DETECTION = {key: value for key, value in VALID.items() if key != "label_classes"} | {
    "task": "detection"
}


def test_a_detectors_classes_are_its_object():
    assert parse_request(DETECTION).label_classes == ("dog",)
    assert parse_request(DETECTION | {"label_classes": ["dog"]}).label_classes == ("dog",)
    both = {k: v for k, v in TWO.items() if k != "label_classes"} | {"task": "detection"}
    assert parse_request(both).label_classes == ("pill bottle", "photo frame")
    example = load_request(Path(__file__).parents[1] / "examples" / "bottle.yaml")
    assert example.task is Task.DETECTION
    assert example.label_classes == ("pill bottle",)
    # What is stored of a run is read again.
    assert parse_request(example.model_dump(mode="json")) == example


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (DETECTION | {"label_classes": ["cat"]}, "must be the target objects; leave them out"),
        (DETECTION | {"label_classes": ["dog", "cat"]}, "must be the target objects"),
        ({k: v for k, v in DETECTION.items() if k != "target_object"}, "target_objects"),
        (VALID | {"label_classes": ["eating"]}, "at least 2; or set task: detection"),
        (VALID | {"task": "guessing"}, "task"),
    ],
)
def test_classes_that_do_not_fit_the_task(data, why):
    with pytest.raises(InvalidRequestError, match=why):
        parse_request(data)
