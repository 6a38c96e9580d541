"""Sanitization by noise addition (§5.5), and what it guarantees: very little.

Pixels leave at L2 with Gaussian noise of the standard deviation σ that the request names. The
guarantee is that of the Gaussian mechanism; for whole pictures its ε is in the thousands and more,
"a completely meaningless value" as the paper says. It is told so that no one trusts it.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import math
import struct

import numpy as np
import numpy.typing as npt
from PIL import Image

DELTA = 1e-5
"""δ of the (ε, δ) that is told."""


def add_noise(
    rgba: npt.NDArray[np.uint8], sigma: float, seed: int, secret: bytes
) -> npt.NDArray[np.uint8]:
    """``rgba`` ``(H, W, 4)`` with noise on its colours, rounded and clipped to 0 … 255.

    Alpha is kept, and what is transparent stays zero. The same arguments give the same noise, so
    that a preview shows what will be sent and a run can be repeated on the same device. The noise
    is drawn with HMAC-SHA256 of all four arguments, and each is there for a reason:

    - ``secret`` never leaves the device. Without it, who guesses the pixels could compute their
      noise and see whether the guess is right. The Gaussian mechanism's ε is against an adversary
      who knows the picture but for what it asks, so a key that is made of the pixels and the
      request's seed, which travels, would void it.
    - the pixels: two pictures with one noise would give away their difference.
    - ``sigma``: one noise at two strengths is a linear equation, which gives away the picture.
    - ``seed``: another run may want other noise. Sending a picture under n seeds (or strengths)
      lets their mean have ``sigma / √n`` of noise: each submission counts, as in any mechanism.

    Args:
        sigma: standard deviation in grey levels.
        seed: the request's.
        secret: :func:`spinml.privacy.secret.device_secret`.
    """
    message = struct.pack("<qd", seed, sigma) + np.ascontiguousarray(rgba).tobytes()
    key = hmac.digest(secret, message, "sha256")
    shown = rgba[..., 3] > 0
    normal = _standard_normal(key, 3 * int(shown.sum())).reshape(-1, 3)
    out = rgba.copy()
    noisy = np.rint(rgba[shown][:, :3] + sigma * normal).clip(0, 255)
    out[shown] = np.column_stack([noisy, rgba[shown][:, 3]]).astype(np.uint8)
    return out


def sent_pixels(png: bytes) -> int:
    """How many pixels of an RGBA file are not transparent."""
    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        return int(np.count_nonzero(np.asarray(image)[..., 3]))


def epsilon(sigma: float, pixels: int, delta: float = DELTA) -> float:
    """ε of the Gaussian mechanism on one picture of ``pixels`` RGB pixels.

    It is the exact (not the classical, which holds for ε < 1 alone) ε of Balle and Wang (2018,
    "Improving the Gaussian mechanism for differential privacy", theorem 8): the least with
    ``Φ(Δ/2σ − εσ/Δ) − e^ε Φ(−Δ/2σ − εσ/Δ) ≤ δ``. Two pictures may differ in every pixel of every
    channel from 0 to 255, so the L2 sensitivity is ``Δ = 255 √(3 · pixels)``. Rounding and
    clipping come after the noise and change nothing. The outline (alpha) has no noise and is not
    in it.

    Args:
        sigma: standard deviation in grey levels, > 0.
        pixels: how many are sent, ≥ 1.
        delta: in (0, 1).

    Raises:
        ValueError: an argument is out of its range.
    """
    if not (sigma > 0 and pixels >= 1 and 0 < delta < 1):
        raise ValueError(f"σ {sigma}, {pixels} pixels, δ {delta}: wanted σ > 0, ≥ 1, in (0, 1)")
    ratio = 255.0 * math.sqrt(3.0 * pixels) / sigma
    # With t = εσ/Δ − Δ/2σ, ε = ratio (t + ratio / 2) and δ falls as t grows: bisect over t.
    low, high = -ratio / 2, 40.0
    if _delta_at(low, ratio) <= delta:
        return 0.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if _delta_at(middle, ratio) > delta else (low, middle)
    return ratio * (high + ratio / 2)


def _delta_at(t: float, ratio: float) -> float:
    """Φ(−t) − e^ε Φ(−t − ratio); e^ε goes into the scaled tail, for by itself it overflows."""
    tail = 0.5 * math.erfc(t / math.sqrt(2))
    return tail - 0.5 * math.exp(-t * t / 2) * _scaled_erfc((t + ratio) / math.sqrt(2))


def _scaled_erfc(x: float) -> float:
    """``e^(x²) erfc(x)`` for x ≥ 0; beyond 25 by its asymptotic series."""
    if x < 25:
        return math.exp(x * x) * math.erfc(x)
    return (1 - 1 / (2 * x * x)) / (x * math.sqrt(math.pi))


def _standard_normal(key: bytes, count: int) -> npt.NDArray[np.float64]:
    """``count`` standard normal numbers by Box and Muller (1958) from SHAKE-256 of ``key``.

    A cryptographic source: what is known of some of the numbers says nothing of the others.
    """
    pairs = (count + 1) // 2
    words = np.frombuffer(hashlib.shake_256(key).digest(16 * pairs), "<u8").reshape(2, -1)
    uniform = ((words >> np.uint64(11)) + 0.5) / 2.0**53
    radius, angle = np.sqrt(-2 * np.log(uniform[0])), 2 * np.pi * uniform[1]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
