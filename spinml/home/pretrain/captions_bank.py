"""Several random captions of every image, as token ids."""

from __future__ import annotations

import numpy as np
from torch import Tensor
from transformers import CLIPTokenizer

from spinml.home.pretrain.renders import Renders
from spinml.home.pretrain.tokens import encode


def write_captions(data: Renders, kind: str, variants: int, seed: int) -> list[list[str]]:
    """`variants` random captions of each image of a kind."""
    rng = np.random.default_rng([seed, sum(map(ord, kind))])
    return [[data.caption(kind, i, rng) for _ in range(variants)] for i in range(len(data))]


def caption_tokens(
    tokenizer: CLIPTokenizer, data: Renders, kind: str, variants: int = 6, seed: int = 0
) -> Tensor:
    """Token ids of `write_captions`, shape ``(n, variants, max_length)``."""
    captions = write_captions(data, kind, variants, seed)
    ids = encode(tokenizer, [caption for row in captions for caption in row])
    return ids.reshape(len(data), variants, -1)
