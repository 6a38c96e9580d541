"""The 95 % interval of a share, counted on the device or on the server."""

from __future__ import annotations

import math

_Z95 = 1.959964


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """Wilson's (1927) 95 % interval of a share; honest for few photos and shares near 0 or 1.

    Raises:
        ValueError: ``correct`` is no count out of ``total``, or ``total`` is none.
    """
    if not 0 <= correct <= total or not total:
        raise ValueError(f"{correct} of {total} is no share")
    share, z2 = correct / total, _Z95**2 / total
    centre = (share + z2 / 2) / (1 + z2)
    half = math.sqrt(share * (1 - share) * z2 + z2 * z2 / 4) / (1 + z2)
    return max(0.0, centre - half), min(1.0, centre + half)
