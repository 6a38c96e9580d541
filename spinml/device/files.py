"""Files that the device writes: what fails there becomes an error of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from spinml.errors import DeviceError


@contextmanager
def writing(what: str) -> Iterator[None]:
    """OSErrors of the block as the error that ``what`` cannot be written."""
    try:
        yield
    except OSError as error:
        raise DeviceError(
            f"{what} cannot be written: {error.strerror or type(error).__name__}",
            remedy="name a place that can be written and has room",
        ) from None
