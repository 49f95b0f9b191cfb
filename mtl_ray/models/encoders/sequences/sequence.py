"""What an encoder of histories is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field
from torch import Tensor, nn

from mtl_ray.errors import ConfigError
from mtl_ray.schema import Settings


class History(NamedTuple):
    """A history of each row: up to L entries, oldest first, and what the row is about."""

    entries: Tensor
    """Embeddings of the entries' ids side by side, `[B, L, W]`; meaningless where not present."""
    present: Tensor
    """Which entries there are, bool `[B, L]`: most often the last ones, but any may be absent."""
    ages: Tensor | None
    """Seconds before the row's time, `[B, L]`, falling along a row; None where the history has no times."""
    target: Tensor | None
    """Embeddings of the candidate's ids side by side, `[B, W]`, for encoders that read it."""


@dataclass(frozen=True)
class HistorySize:
    """What is known of histories before any batch."""

    width: int
    """W."""
    length: int
    """Largest L."""
    has_ages: bool
    std: float
    """Standard deviation of the embeddings at the start."""


class SequenceSettings(Settings, ABC):
    """An entry of `model.encoder.sequences`."""

    kind: ClassVar[Literal["list"]] = "list"

    @abstractmethod
    def build(self, size: HistorySize) -> nn.Module:
        """The module from `History` to `[B, W]`: zeros for a row without any entry. No entry that is absent, and no
        number of them, may change its value."""

    def check_width(self, width: int, where: str) -> None:
        """Raise `ConfigError` where the encoder cannot read entries of W numbers."""


class TargetSettings(SequenceSettings, ABC):
    """An encoder that reads the candidate."""

    target: dict[str, str | None] = Field(default_factory=dict)
    """List -> the categorical feature that is its like of the candidate, of the same vocabulary; null: it has none, and
    zeros take its place. A list that is not named has the one categorical feature that shares its vocabulary."""


def check_heads(heads: int, width: int, where: str) -> None:
    """Raise `ConfigError` where entries cannot be cut into equal heads."""
    if width % heads:
        allowed = [str(number) for number in range(1, width + 1) if width % number == 0]
        raise ConfigError(
            "The entries of a sequence cannot be cut into so many heads.",
            where=f"{where}.heads",
            found=heads,
            allowed=f"{', '.join(allowed)}: divisors of {width}, the lists' embeddings side by side",
            fix="change heads, or model.encoder.embedding_dim",
        )
