"""Which numbers of a row's vector are which feature's."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class FieldLayout:
    """A row before the interaction: `len(names)` fields of `dim` numbers each, then `others` numbers of no field.

    Fields are categorical features, lists, embedded numbers and projected vectors, in this order, each in schema
    order, but the lists of a history where its first one stands and numbers with equal settings together. No fields
    are numbers and vectors that enter as they are, which follow.
    """

    names: tuple[str, ...]
    """Feature of each field."""
    dim: int
    others: int

    @property
    def size(self) -> int:
        return len(self.names) * self.dim + self.others

    def fields(self, x_BI: Tensor) -> Tensor:
        """The fields of `[B, size]`, `[B, F, D]`."""
        return x_BI[:, : len(self.names) * self.dim].reshape(-1, len(self.names), self.dim)
