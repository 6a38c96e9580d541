"""Rule 1: a camera photo cannot be serialised, in any of the ways that Python offers."""

import copy
import json
import pickle

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticSerializationError

from spinml.bundle import SanitizedBundle
from spinml.privacy.private import PrivatePhoto, SegmentedPhoto
from spinml.privacy.sanitizer import sanitize
from tests.photos import cat, ellipse, request_of, segmented


def device_only():
    sanitized = sanitize(request_of("L2", "L2"), [segmented()])
    return [PrivatePhoto(cat()), segmented(), sanitized, sanitized.views[0]]


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_is_refused(index: int, protocol: int):
    with pytest.raises(TypeError, match="stays on the device"):
        pickle.dumps(device_only()[index], protocol)


@pytest.mark.parametrize("index", range(4))
def test_json_and_copies_are_refused(index: int):
    item = device_only()[index]
    with pytest.raises(TypeError):
        json.dumps(item)
    with pytest.raises(TypeError):
        copy.deepcopy(item)


def test_pydantic_cannot_write_one():
    class Careless(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        photo: PrivatePhoto

    with pytest.raises(PydanticSerializationError):
        Careless(photo=PrivatePhoto(cat())).model_dump_json()


def test_repr_shows_shapes_alone():
    text = " ".join(map(repr, device_only()))
    assert "640 x 480" in text
    assert "array" not in text


def test_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"\(10, 10\)"):
        SegmentedPhoto(PrivatePhoto(cat()), {"target": np.ones((10, 10), bool)})


def test_only_the_sanitizer_makes_a_bundle():
    bundle = sanitize(request_of(), [segmented()]).bundle
    fields = {"request": bundle.request, "segments": bundle.segments}
    for make in (
        lambda: SanitizedBundle(**fields),
        lambda: SanitizedBundle.model_validate(fields),
        lambda: SanitizedBundle.model_validate(fields, context={}),
        lambda: SanitizedBundle.model_construct(**fields),
        lambda: bundle.model_copy(update={"segments": ()}),
    ):
        with pytest.raises(TypeError, match="alone"):
            make()


def test_a_bundle_itself_can_travel():
    bundle = sanitize(request_of(), [segmented()]).bundle
    assert pickle.loads(pickle.dumps(bundle)) == bundle


def test_wrong_mask_size_says_both():
    with pytest.raises(ValueError, match=r"\(480, 640\)"):
        SegmentedPhoto(PrivatePhoto(cat()), {"target": ellipse(64, 48)})
