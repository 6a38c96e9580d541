"""The home's figures in words, one way for terminal and report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from spinml.device.measures import SegmentMeasures
from spinml.privacy.reidentification import Reidentification


@dataclass(frozen=True)
class DescribedFigure:
    """One figure of every segment, and in a plain sentence what it means."""

    name: str
    segments: dict[str, str]
    """What it is, by segment."""
    meaning: str


def described(measures: Mapping[str, SegmentMeasures]) -> tuple[DescribedFigure, ...]:
    """What averages such as MI and SIM do not show, of every segment that was measured."""
    return tuple(
        DescribedFigure(
            name, {segment: say(measured) for segment, measured in measures.items()}, meaning
        )
        for name, say, meaning in _FIGURES
    )


def _attack(found: Reidentification) -> str:
    if not found.images:
        return f"chance, {found.chance:.1%}: nothing was sent"
    low, high = found.interval_95
    return f"{found.rate:.0%} (95 %: {low:.0%}–{high:.0%}; chance {found.chance:.1%})"


def _prompts(measures: SegmentMeasures) -> str:
    if measures.prompt_sim is None:
        return "not measured: the run's embedder has no text tower"
    return f"{measures.prompt_sim.prompts:.3f} (empty prompt {measures.prompt_sim.empty:.3f})"


def _copies(measures: SegmentMeasures) -> str:
    found = measures.copies
    if found is None:
        return "not measured: too few photos for a baseline"
    told = (
        f"{found.flagged} of {found.images} flagged; image {found.image} is nearest, at "
        f"{found.nearest:.3f} (baseline {found.baseline:.3f})"
    )
    by_chance = found.flagged and not measures.same_photo.images
    return f"{told}; by chance: nothing was sent" if by_chance else told


_FIGURES: tuple[tuple[str, Callable[[SegmentMeasures], str], str], ...] = (
    (
        "re-identified by another shot",
        lambda measures: _attack(measures.other_shot),
        "How often someone who has another picture of the same moment picks it out of a gallery "
        "of photos by what was sent.",
    ),
    (
        "re-identified by the photo itself",
        lambda measures: _attack(measures.same_photo),
        "The same with the very photo in the gallery: the worst case, near 100 % for whatever is "
        "not noise.",
    ),
    (
        "copies among the synthetic images",
        _copies,
        "Synthetic images nearer to one of the photos than the photos usually are to each other: "
        "look at those, they may be memorised. What is flagged where nothing was sent is alike by "
        "chance, as bare rooms are.",
    ),
    (
        "prompt SIM",
        _prompts,
        "How near the words used for drawing come to the private photos; words that say nothing "
        "of them stay near the empty prompt.",
    ),
)
