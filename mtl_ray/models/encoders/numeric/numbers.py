"""All numeric columns, each with the encoder that the config chooses for it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mtl_ray.models.encoders.numeric.numeric import NumericSettings


class Numbers(nn.Module):
    """`[B, F_n]` to the embedded columns as fields and the plain ones as numbers; columns with equal settings are
    computed together."""

    def __init__(
        self,
        settings: Sequence[NumericSettings],
        quantiles: Sequence[Sequence[float]],
        dim: int,
        std: float,
    ) -> None:
        """`settings` of each column; `quantiles` of each column, or none where no settings need them."""
        super().__init__()
        self.groups = nn.ModuleList()
        for leaf in dict.fromkeys(leaf for leaf in settings if leaf.embeds):
            columns = [column for column, other in enumerate(settings) if other == leaf]
            own = [quantiles[column] for column in columns] if leaf.needs_quantiles else []
            self.groups.append(OfColumns(columns, len(settings), leaf.build(len(columns), own, dim, std)))
        plain = [column for column, leaf in enumerate(settings) if not leaf.embeds]
        self.plain = OfColumns(plain, len(settings), nn.Identity()) if plain else None

    def fields(self, x_BN: Tensor) -> list[Tensor]:
        """The embedded columns in the order of `field_columns`, `[B, N * D]` for each group of equal settings."""
        return [group(x_BN).flatten(1) for group in self.groups]

    def others(self, x_BN: Tensor) -> list[Tensor]:
        """The plain columns, `[B, P]`; nothing where there is none."""
        return [self.plain(x_BN)] if self.plain is not None else []


class OfColumns(nn.Module):
    """A module of some of a tensor's columns."""

    columns: Tensor

    def __init__(self, columns: Sequence[int], every: int, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self._all = len(columns) == every
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.int64), persistent=False)

    def forward(self, x_BN: Tensor) -> Tensor:
        chosen: Tensor = self.inner(x_BN if self._all else x_BN.index_select(1, self.columns))
        return chosen


def field_columns(settings: Sequence[NumericSettings]) -> list[int]:
    """Columns that become fields, in the order of `Numbers.fields`: equal settings together."""
    chosen = dict.fromkeys(leaf for leaf in settings if leaf.embeds)
    return [column for leaf in chosen for column, other in enumerate(settings) if other == leaf]
