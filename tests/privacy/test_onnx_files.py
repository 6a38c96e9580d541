"""ONNX files that point out of their folder open nothing on the device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from spinml.errors import ModelFileError
from spinml.privacy.onnx_session import open_session

SECRET = np.arange(4, dtype=np.float32)


def model(location: str) -> bytes:
    """A model whose output is 16 bytes of the file ``location``."""
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": "16"}.items():
        entry = weight.external_data.add()
        entry.key, entry.value = key, value
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["y"])], "g", [], [output], [weight]
    )
    opset = helper.make_opsetid("", 17)
    return bytes(helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "private.bin").write_bytes(SECRET.tobytes())
    (folder / "own.bin").write_bytes(SECRET.tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "private.bin")
    return folder


def test_data_beside_the_model_is_its_own(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(model("own.bin"))
    (found,) = open_session(folder / "model.onnx").run(None, {})
    assert np.array_equal(found, SECRET)


@pytest.mark.parametrize(
    "location",
    ["../private.bin", "./x/../../private.bin", "{outside}", "link.bin", "/proc/self/environ",
     "*/_ORT_MEM_ADDR_/*"],
)  # fmt: skip
def test_data_elsewhere_is_refused(folder: Path, location: str) -> None:
    place = location.format(outside=folder.parent / "private.bin")
    (folder / "model.onnx").write_bytes(model(place))
    with pytest.raises(ModelFileError) as caught:
        open_session(folder / "model.onnx")
    assert "private" not in str(caught.value)
