"""Places of which each tenant has a part only, on one event loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from spinml.errors import RateLimitedError


class TenantPlaces:
    """How many of something each tenant has at once.

    Args:
        most: how many it may have.
        what: what they are and are doing, behind their number.
        setting: the field of ``service.load`` that says ``most``.
        remedy: what a tenant that has as many can do.
    """

    def __init__(self, most: int, *, what: str, setting: str, remedy: str) -> None:
        self._most, self._what, self._setting, self._remedy = most, what, setting, remedy
        self._by_tenant: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """How many all tenants have."""
        return self._by_tenant.total()

    @contextmanager
    def place(self, tenant: str) -> Iterator[None]:
        """Have one more, as ``tenant``.

        Raises:
            RateLimitedError: the tenant has as many as it may.
        """
        if self._by_tenant[tenant] >= self._most:
            raise RateLimitedError(
                f"{self._most} {self._what}, no more are taken at once",
                remedy=self._remedy,
                details={self._setting: self._most},
            )
        self._by_tenant[tenant] += 1
        try:
            yield
        finally:
            self._by_tenant[tenant] -= 1
