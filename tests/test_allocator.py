"""That this process's freed memory stays with it: counted in page faults."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

_BLOCKS = """
import resource
import sys

import numpy as np

if sys.argv[1] == "kept":
    from spinml.allocator import keep_freed_memory

    assert keep_freed_memory()
if sys.argv[1] == "worker":
    from spinml.config import Resources
    from spinml.distributed.resources import settle_process

    settle_process(Resources(num_cpus=1))
np.ones(8_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(8_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(way: str) -> int:
    """Page faults of five blocks of 64 MB, one after the other, after a first."""
    out = subprocess.run(
        [sys.executable, "-c", _BLOCKS, way], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    return int(out)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="no glibc")
@pytest.mark.parametrize("way", ["kept", "worker"])
def test_freed_blocks_are_used_again_without_page_faults(way: str) -> None:
    given_back, kept = faults("own"), faults(way)
    assert given_back > 100, "otherwise this says nothing: each block is mapped anew"
    assert kept < given_back / 10
