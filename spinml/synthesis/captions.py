"""Captions of reference images: from what was shared alone, never from ground truth."""

from __future__ import annotations

from collections.abc import Sequence

from spinml.images import Photo
from spinml.synthesis.prompts import Prompts
from spinml.synthesis.text_image import TextImageEncoder

UNSURE = 0.8
"""Below this probability a guess is not used and the caption names no class."""


def guess_labels(
    encoder: TextImageEncoder,
    images: Sequence[Photo],
    prompts: Prompts,
    words: str,
    labels: Sequence[str],
) -> list[str | None]:
    """The class that the encoder sees in each shared reference; None where it is not sure.

    References come without labels (§5.3), so this guess is all that the server may use.
    """
    wanted = prompts.object_by_class(words, labels, tuned=False)
    probabilities = encoder.guess(images, wanted)
    return [labels[int(row.argmax())] if row.max() >= UNSURE else None for row in probabilities]


def target_captions(prompts: Prompts, words: str, guesses: Sequence[str | None]) -> list[str]:
    """Captions with the identifier token, with the guessed class where there is one."""
    return [
        prompts.unlabelled(words, tuned=True)
        if guess is None
        else prompts.labelled(words, guess, tuned=True)
        for guess in guesses
    ]
