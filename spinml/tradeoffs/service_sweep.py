"""Which sweep at which service: its id, by which any driver finds its runs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from spinml.errors import InvalidRequestError
from spinml.sweep.spec import SweepSpec


@dataclass(frozen=True)
class ServiceAccess:
    """Which service, and as whom. The key itself stays in its file: this travels to the host."""

    server: str
    key_file: Path


@dataclass(frozen=True)
class SweepOnService:
    """A sweep at a service."""

    access: ServiceAccess
    id: str
    attach: bool
    """Take up what was submitted, and leave what failed as it is."""


def sweep_on_service(
    spec: SweepSpec, photos: str, access: ServiceAccess, attach: str | None
) -> SweepOnService:
    """The sweep of a file and photos. Its id follows from the file's name and the photos alone, so
    that a driver that starts over, or has one preference more, goes on with the same sweep.

    Args:
        photos: :func:`spinml.tradeoffs.home.identity_of`.
        attach: the id that was told at the start; None begins the sweep, or goes on with it.

    Raises:
        InvalidRequestError: ``attach`` is not the id of this file with these photos.
    """
    own = f"{spec.name}-{hashlib.sha256(photos.encode()).hexdigest()[:12]}"
    if attach not in (None, own):
        raise InvalidRequestError(
            f"{attach} is not the sweep of this file and these photos, which is {own}",
            remedy="attach with the file and the photos that it was begun with",
        )
    return SweepOnService(access, own, attach is not None)
