"""ServerConfig is checked whole: what could only fail late is told when the file is read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from spinml.config import ServerConfig
from spinml.synthesis.cutout import Broken, CutOut, find_object


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ({"training": {"backbone": "mobilenet_v3"}}, "mobilenet_v2"),
        ({"prompts": {"object": "a {token}{object} is {class}"}}, "wanted {object}, {label}"),
        ({"prompts": {"object": "a {token}{object}"}}, "wanted {object}, {label}"),
        ({"prompts": {"background": "a {background}"}}, "wanted {background}, {token}"),
        ({"prompts": {"object_unlabelled": "a {token}{object"}}, "expected '}'"),
        ({"generation": {"scale_range": [0.9, 0.2]}}, "the first number is the least"),
        ({"generation": {"scale_range": [0, 0.2]}}, "greater than 0"),
        ({"generation": {"scale_range": [0.2, 1.2]}}, "less than or equal to 1"),
    ],
)
def test_a_value_that_would_fail_a_later_stage_is_refused(part: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ServerConfig.model_validate(part)
    assert told in str(caught.value)


@pytest.mark.parametrize("ground", [255, 200, 60])
def test_sd15_may_draw_on_a_plain_ground_of_any_grey(ground: int) -> None:
    image = np.full((64, 64, 3), ground, np.uint8)
    image[20:44, 20:44] = (120, 60, 20)
    settings = ServerConfig.model_validate({"preset": "sd15"}).generation
    assert isinstance(find_object(image, settings.cutout), CutOut)
    bundled = find_object(image, ServerConfig().generation.cutout)
    assert (bundled is Broken.GROUND) == (ground != 200)


def test_sd15_checks_no_labels_for_it_has_no_encoder() -> None:
    config = ServerConfig.model_validate({"preset": "sd15"})
    assert config.generation.min_label_probability == 0
    assert not config.finetune.guess_labels
