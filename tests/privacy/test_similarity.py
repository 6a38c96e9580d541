"""SIM (eq. 2) against the definition, and the embedder against a model that is known."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from spinml.errors import ModelFileError
from spinml.privacy.similarity import OnnxEmbedder, normalised, similarity
from tests.photos import cat, real_photos


def mean_colour_embedder(path, px="px"):
    """An ONNX model whose embedding of a photo is its mean colour."""
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["photos", "axes"], ["embeddings"], keepdims=0)],
        "mean colour",
        [helper.make_tensor_value_info("photos", TensorProto.FLOAT, ["n", 3, px, px])],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


def test_similarity_is_the_mean_cosine_of_all_pairs():
    random = np.random.default_rng(0)
    p, q = random.normal(size=(5, 8)), random.normal(size=(7, 8))
    pairs = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a in p for b in q]
    assert similarity(p, q) == pytest.approx(np.mean(pairs), abs=1e-6)


def test_equal_images_are_one():
    same = np.tile([[1.0, 2.0, 3.0]], (4, 1))
    assert similarity(same, 2 * same) == pytest.approx(1.0)


def test_bad_embeddings():
    good = np.ones((2, 3))
    for bad in (np.zeros((1, 3)), np.full((1, 3), np.nan), np.ones(3)):
        with pytest.raises(ValueError, match="embedding"):
            normalised(bad)
    with pytest.raises(ValueError, match="same embedder"):
        similarity(good, np.ones((2, 4)))
    with pytest.raises(ValueError, match="0 private"):
        similarity(np.ones((0, 3)), good)


@pytest.mark.parametrize(("px", "expected"), [(64, 64), ("px", 128)])
def test_embedder(tmp_path, px, expected):
    embed = OnnxEmbedder(mean_colour_embedder(tmp_path / "e.onnx", px))
    assert embed.size_px == expected
    photos = [*real_photos().values()] * 3
    embeddings = embed(photos)
    assert embeddings.shape == (len(photos), 3)
    colour = cat().reshape(-1, 3).mean(axis=0)
    assert embeddings[0] == pytest.approx(colour / np.linalg.norm(colour), abs=0.01)


def test_what_has_no_direction_is_no_embedding(tmp_path):
    embed = OnnxEmbedder(mean_colour_embedder(tmp_path / "e.onnx"))
    with pytest.raises(ModelFileError, match="no direction"):
        embed([np.zeros((8, 8, 3), np.uint8)])


def test_files_that_are_no_embedder(tmp_path):
    with pytest.raises(ModelFileError, match="no model file"):
        OnnxEmbedder(tmp_path / "none.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(ModelFileError, match="cannot be loaded"):
        OnnxEmbedder(broken)
    with pytest.raises(ValueError, match="no photos"):
        OnnxEmbedder(mean_colour_embedder(tmp_path / "e.onnx"))([])
