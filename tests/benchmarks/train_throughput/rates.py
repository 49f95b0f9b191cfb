"""The speed of a training from that of its epochs."""

from __future__ import annotations

from statistics import harmonic_mean

from tests.benchmarks.measure import Measured


def over_all_epochs(run: Measured) -> float | None:
    """Samples a second from the first rows on: Ray Data reads the rows of all epochs while the first is trained, where
    they fit in its memory, and who leaves the first epoch out leaves the reading out. None where the side failed."""
    return None if run.error is not None else harmonic_mean(run.figures["samples_per_second"])
