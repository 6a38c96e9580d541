"""Prompts from templates: every object × class (§3.3)."""

from __future__ import annotations

from collections.abc import Sequence

from spinml.config import PromptConfig
from spinml.preference import BACKGROUND


class Prompts:
    """The prompts of objects and backgrounds.

    Args:
        config: templates; ``{token}`` becomes the identifier token and a space where the model that
            gets the prompt was fine-tuned, nothing where it was not.
    """

    def __init__(self, config: PromptConfig) -> None:
        self._config = config

    @property
    def negative(self) -> str:
        """What classifier-free guidance steers away from."""
        return self._config.negative

    def labelled(self, words: str, label: str, *, tuned: bool) -> str:
        """A target object of a class, e.g. "a xyz dog is eating, plain background"."""
        return self._config.object.format(object=words, label=label, token=self._token(tuned))

    def object_by_class(self, words: str, labels: Sequence[str], *, tuned: bool) -> list[str]:
        """:meth:`labelled` for every class, in the order of ``labels``."""
        return [self.labelled(words, label, tuned=tuned) for label in labels]

    def unlabelled(self, words: str, *, tuned: bool) -> str:
        """A target object of no named class."""
        return self._config.object_unlabelled.format(object=words, token=self._token(tuned))

    def background(self, words: str, *, tuned: bool) -> str:
        """A background."""
        return self._config.background.format(background=words, token=self._token(tuned))

    def of_segment(self, segment: str, words: str, *, tuned: bool) -> str:
        """What is said of a reference image of ``segment`` when nothing else is known of it."""
        if segment == BACKGROUND:
            return self.background(words, tuned=tuned)
        return self.unlabelled(words, tuned=tuned)

    def _token(self, tuned: bool) -> str:
        return f"{self._config.identifier_token} " if tuned else ""
