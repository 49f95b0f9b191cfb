"""Which of several trials one would choose from: those that no other one beats in everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Scores = tuple[float, ...]


def dominates(one: Scores, other: Scores) -> bool:
    """Whether `one` is nowhere worse than `other` and somewhere better; larger is better."""
    return all(a >= b for a, b in zip(one, other, strict=True)) and one != other


def front_of(scores: Mapping[int, Scores]) -> tuple[int, ...]:
    """Keys that no other one dominates, the best in the first objective first; of equal ones the first."""
    kept: dict[Scores, int] = {}
    for key, own in scores.items():
        if own not in kept and not any(dominates(other, own) for other in scores.values()):
            kept[own] = key
    return tuple(kept[own] for own in sorted(kept, reverse=True))


def hypervolume(scores: Sequence[Scores], reference: Scores) -> float:
    """Area between two objectives' front and a `reference` that every point of it beats; larger is better."""
    area, below = 0.0, reference[1]
    for x, y in sorted(set(scores), reverse=True):
        if x > reference[0] and y > below:
            area += (x - reference[0]) * (y - below)
            below = y
    return area
