"""Libraries that draw from torch's own generator, made to draw the same on all ranks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def drawn_alike(generator: torch.Generator) -> Iterator[None]:
    """Inside, torch's CPU generator begins where `generator` stands; after, it goes on as if nothing had been drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.set_state(generator.get_state())
        yield
