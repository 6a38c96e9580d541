"""Sweep files: what they expand to, and how they are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from spinml.errors import ConfigError, InvalidRequestError
from spinml.sweep.labels import trial_id
from spinml.sweep.spec import load_sweep
from tests.sweep.conftest import GRID, REQUEST, make_spec

ROOT = Path(__file__).parents[2]


def labels(**space: object) -> list[str]:
    return [one.label for one in make_spec(space=space).conditions()]


def test_the_shipped_example_is_nine_preferences_of_the_pet_task() -> None:
    spec = load_sweep(ROOT / "examples" / "sweep.yaml")
    conditions = spec.conditions()
    assert len(conditions) == 9
    assert spec.space.seeds == (0, 1, 2)
    request = conditions[-1].at(2)
    assert (str(request.privacy), request.seed, request.target_object) == ("(L2, L2)", 2, "dog")


def test_settings_count_only_where_they_are_sent() -> None:
    features = {"target": ["canny", "soft_edges"]}
    noise = {"target": [None, 10]}
    assert labels(preferences=GRID | {"background": ["L0"]}, features=features, noise=noise) == [
        "(L0, L0)", "(L1, L0)", "(L1 soft_edges, L0)", "(L2, L0)", "(L2 σ=10, L0)",
    ]  # fmt: skip
    listed = labels(preferences=[{"target": "L1"}, {"target": "L1", "background": "L1"}])
    assert listed == ["(L1, L0)", "(L1, L1)"]


def test_a_segment_that_the_request_lacks_breaks_its_condition_alone() -> None:
    space = {"preferences": [{"target": "L0"}, {"target": "L1", "frame": "L1"}]}
    good, bad = make_spec(space=space).conditions()
    assert good.error is None
    assert bad.error is not None
    assert "frame" in bad.error.message
    with pytest.raises(InvalidRequestError, match="frame"):
        bad.at(0)
    with pytest.raises(InvalidRequestError, match=r"none of 1 condition.*L9"):
        make_spec(space={"preferences": [{"target": "L9"}]}).conditions()
    lacking = {"preferences": [{"target": "L1"}], "features": {"frame": ["canny"]}}
    with pytest.raises(InvalidRequestError, match="frame"):
        make_spec(space=lacking).conditions()


@pytest.mark.parametrize("space", [{}, {"preferences": {"target": []}}, {"preferences": []}])
def test_an_empty_space_is_refused(space: dict[str, object]) -> None:
    with pytest.raises(InvalidRequestError, match="empty"):
        make_spec(space=space).conditions()


def test_seeds_alone_are_a_space() -> None:
    assert labels(seeds=2) == ["(L0, L0)"]


def test_mixtures_stand_beside_preferences() -> None:
    space = {"preferences": [{"target": "L0"}], "mixtures": [[{"target": "L0"}, {"target": "L2"}]]}
    plain, mixed = make_spec(space=space).conditions()
    assert plain.label == "(L0, L0)"
    assert mixed.label == "(L0, L0) + (L2, L0)"
    assert mixed.at(3).preferences == (plain.at(0).privacy, *mixed.at(3).mixture)
    with pytest.raises(ValidationError, match="at least 2"):
        make_spec(space={"mixtures": [[{"target": "L0"}]]})


def test_a_search_has_an_axis_for_each_segment() -> None:
    spec = make_spec(space={"preferences": GRID, "noise": {"target": [None, 5, 10]}})
    sizes = {axis: len(options) for axis, options in spec.space.axes().items()}
    assert sizes == {"privacy.target": 3, "privacy.background": 3, "noise.target": 3}
    point = {"privacy.target": 2, "privacy.background": 1, "noise.target": 1}
    assert spec.condition(point).label == "(L2 σ=5, L1)"


def test_a_trial_is_named_by_all_that_its_figures_depend_on() -> None:
    first, second = make_spec(space={"preferences": [{}, {"target": "L1"}]}).conditions()
    names = {trial_id(first.at(0), "a"), trial_id(first.at(1), "a"), trial_id(second.at(0), "a")}
    assert len(names | {trial_id(first.at(0), "b")}) == 4
    assert trial_id(first.at(0), "a") in names


def test_all_problems_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    data = {
        "name": "a b",
        "request": REQUEST,
        "space": {"preferences": GRID, "seeds": [1, 1]},
        "search": {"kind": "optuna"},
        "wanted_accuracy": 80,
    }
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(ConfigError) as caught:
        load_sweep(path)
    problems = " ".join(caught.value.details["problems"])
    assert all(field in problems for field in ("name", "space.seeds", "search", "wanted_accuracy"))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_sweep(tmp_path / "no.yaml")
    seeds_stop = {"kind": "optuna", "trials": 3}
    with pytest.raises(ValueError, match="early_stopping"):
        make_spec(search=seeds_stop, early_stopping={"after_seeds": 2})


def test_conditions_may_be_written_out() -> None:
    noisy = {"privacy": {"target": "L2"}, "noise": {"target": 5}}
    mixed = {"privacy": {"target": "L0"}, "mixture": [{"target": "L2"}]}
    assert labels(conditions=[{"privacy": {"target": "L0"}}, noisy, mixed]) == [
        "(L0, L0)", "(L2 σ=5, L0)", "(L0, L0) + (L2, L0)",
    ]  # fmt: skip
    with pytest.raises(ValidationError, match="no other axis"):
        make_spec(space={"conditions": [noisy], "preferences": [{"target": "L0"}]})


@pytest.mark.parametrize(("below", "above"), [("cat", "target"), ("target", "cat")])
def test_an_objects_words_and_its_segment_are_laid_over_each_other(below: str, above: str) -> None:
    request = REQUEST | {"privacy": {below: "L1"}, "features": {below: "pose"}}
    space = {"preferences": {above: ["L0", "L1", "L2"]}, "noise": {below: [None, 10]}}
    found = make_spec(request=request, space=space).conditions()
    assert [one.label for one in found] == [
        "(L0, L0)", "(L1 pose, L0)", "(L2, L0)", "(L2 σ=10, L0)",
    ]  # fmt: skip
    mixed = [{"privacy": {below: "L0"}, "mixture": [{above: "L2"}], "noise": {below: 5}}]
    assert labels(conditions=mixed) == ["(L0, L0) + (L2 σ=5, L0)"]


def test_a_segment_that_a_space_names_twice_is_refused() -> None:
    twice = {"preferences": {"cat": ["L1"], "target": ["L0", "L2"]}}
    with pytest.raises(InvalidRequestError, match="names target twice"):
        make_spec(space=twice).conditions()


def test_sensitivity_takes_an_objects_words_and_refuses_others() -> None:
    assert make_spec(sensitivity={"cat": 2, "background": 3}).sensitivity == {
        "target": 2, "background": 3,
    }  # fmt: skip
    with pytest.raises(ValidationError, match="sensitivity names dog"):
        make_spec(sensitivity={"dog": 2})


def test_a_privacy_that_is_no_mapping_breaks_its_condition() -> None:
    conditions = [{"privacy": "L2"}, {"privacy": {"target": "L2"}}]
    request = REQUEST | {"features": {"target": "canny"}}
    broken, whole = make_spec(request=request, space={"conditions": conditions}).conditions()
    assert broken.error is not None
    assert whole.error is None


def test_a_scheme_of_a_plugin_counts_only_where_pixels_are_sent() -> None:
    request = REQUEST | {"schemes": {"cat": "mosaic"}}
    found = make_spec(request=request, space={"preferences": {"target": ["L0", "L1", "L2"]}})
    assert [one.label for one in found.conditions()] == [
        "(L0, L0)", "(L1, L0)", "(L2 mosaic, L0)",
    ]  # fmt: skip


def test_a_condition_has_only_what_its_label_tells() -> None:
    images = [{"privacy": {"target": "L2"}, "images_per_class": count} for count in (100, 400)]
    with pytest.raises(ValidationError, match=r"has images_per_class; .*a sweep for each value"):
        make_spec(space={"conditions": images})
    with pytest.raises(ValidationError, match="has seed, target_object"):
        make_spec(space={"conditions": [{"target_object": "dog"}, {"seed": 1}]})
