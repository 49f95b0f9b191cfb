"""The embedding table of a model, whose rows may come later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from torch import nn

_DEFERRED = ContextVar("deferred", default=False)


class EmbeddingTable(nn.Embedding):
    """`[rows, D]`, drawn from a normal distribution.

    Attributes:
        std: its standard deviation.
        first_rows: of each vocabulary, in rising order.
        ids_a_row: of each vocabulary, how many of its ids a row of a batch has; padding of lists counts.
    """

    def __init__(
        self,
        rows: int,
        dim: int,
        std: float,
        first_rows: Mapping[str, int],
        ids_a_row: Mapping[str, int] | None = None,
    ) -> None:
        """`ids_a_row` None: one of each."""
        deferred = _DEFERRED.get()
        super().__init__(rows, dim, device="meta" if deferred else None)
        if not deferred:
            nn.init.normal_(self.weight, std=std)
        self.std = std
        self.first_rows = dict(first_rows)
        self.ids_a_row = dict.fromkeys(first_rows, 1) | dict(ids_a_row or {})


@contextmanager
def deferred_tables() -> Iterator[None]:
    """Tables that are made inside have no rows: they are for `mtl_ray.optim.sharded.shard_tables` to replace."""
    token = _DEFERRED.set(True)
    try:
        yield
    finally:
        _DEFERRED.reset(token)
