from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from spinml.home.renderer import Renderer


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    """A renderer of 128 px; its GL context goes with the module's tests."""
    from spinml.home.renderer import Renderer

    made = Renderer(128)
    yield made
    made.close()
