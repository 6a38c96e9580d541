"""Seeds derived from what they are for, so that an image depends on nothing else; without torch."""

from __future__ import annotations

import hashlib


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed from ``parts``, e.g. ``derive_seed(run_seed, "image", 17, "draw", 2)``."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
