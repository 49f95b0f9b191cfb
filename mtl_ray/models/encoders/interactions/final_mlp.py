"""Two streams: Mao et al., FinalMLP: An Enhanced Two-Stream MLP Model for CTR Prediction, AAAI 2023."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from mtl_ray.models.encoders.interactions.interaction import Interaction, InteractionSettings
from mtl_ray.models.encoders.layout import FieldLayout
from mtl_ray.models.encoders.names import unknown
from mtl_ray.models.mlp import MLP, Activation

Hidden = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
Context = tuple[str, ...] | None


class FinalMLPConfig(InteractionSettings):
    """`interaction: {name: final_mlp, first_context: [user_id], second_context: [item_id]}`."""

    name: Literal["final_mlp"] = "final_mlp"
    first: Hidden = (256, 128)
    """Hidden sizes of the first stream."""
    second: Hidden = (256, 128)
    """Hidden sizes of the second stream."""
    heads: int = Field(default=1, ge=1)
    """Blocks into which both outputs are cut before they are multiplied."""
    activation: Activation = "relu"
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    first_context: Context = None
    """Features whose embeddings choose what the first stream reads of a row; []: the same choice for all rows, learned;
    null: it reads everything."""
    second_context: Context = None
    gate: PositiveInt = 64
    """Hidden size of the gates with features."""

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        for key, hidden in (("first", self.first), ("second", self.second)):
            if hidden[-1] % self.heads:
                raise ValueError(f"heads {self.heads} must divide the last size of {key}, found {hidden[-1]}")
        return self

    def build(self, layout: FieldLayout) -> FinalMLP:
        return FinalMLP(self, layout)

    def check(self, layout: FieldLayout) -> None:
        for key, context in (("first_context", self.first_context), ("second_context", self.second_context)):
            for name in context or ():
                if name not in layout.names:
                    where = f"model.encoder.interaction.{key}"
                    raise unknown(
                        "A gate of final_mlp reads a feature that has no embedding.", name, layout.names, where
                    )


class FinalMLP(Interaction):
    """Streams o1 = MLP1(g1 * x) and o2 = MLP2(g2 * x) with feature gates g, and their bilinear fusion in k heads.

    The paper's logit is b + w1 . o1 + w2 . o2 + sum over heads of o1_h^T W_h o2_h (equations 8 and 9). Deviation: the
    tasks' parts above want a vector, so the output is [o1, o2, (W_h^T o1_h) * o2_h for each h], `[B, H1 + 2 H2]`: what
    the logit is a weighted sum of. W starts with variance 1 / rows.
    """

    def __init__(self, config: FinalMLPConfig, layout: FieldLayout) -> None:
        super().__init__()
        self.first_gate = _gate(config, config.first_context, layout)
        self.second_gate = _gate(config, config.second_context, layout)
        self.first = MLP(layout.size, config.first, config.activation, config.dropout)
        self.second = MLP(layout.size, config.second, config.activation, config.dropout)
        rows, columns = config.first[-1] // config.heads, config.second[-1] // config.heads
        self.fusion = nn.Parameter(torch.empty(config.heads, rows, columns).normal_(std=rows**-0.5))
        self.out_size = config.first[-1] + 2 * config.second[-1]

    def forward(self, x_BI: Tensor) -> Tensor:
        first_BH = self.first(x_BI if self.first_gate is None else self.first_gate(x_BI))
        second_BH = self.second(x_BI if self.second_gate is None else self.second_gate(x_BI))
        heads = len(self.fusion)
        mapped_BKC = torch.einsum("bkr,krc->bkc", first_BH.reshape(first_BH.shape[0], heads, -1), self.fusion)
        return torch.cat([first_BH, second_BH, mapped_BKC.flatten(1) * second_BH], dim=1)


class LearnedGate(nn.Module):
    """x * 2 sigmoid(g), g `[I]` learned, 0 at the start."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(size))

    def forward(self, x_BI: Tensor) -> Tensor:
        return x_BI * (2.0 * torch.sigmoid(self.gate))


class ContextGate(nn.Module):
    """x * 2 sigmoid(MLP(c)) with the context features' embeddings c (section "stream-specific feature selection"); the
    last layer starts small, which leaves x as it is."""

    positions: Tensor

    def __init__(self, layout: FieldLayout, context: tuple[str, ...], hidden: int, activation: Activation) -> None:
        super().__init__()
        positions = [layout.names.index(name) for name in context]
        self.layout = layout
        self.register_buffer("positions", torch.tensor(positions, dtype=torch.int64), persistent=False)
        self.hidden = MLP(len(context) * layout.dim, (hidden,), activation)
        self.out = nn.Linear(hidden, layout.size)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)

    def forward(self, x_BI: Tensor) -> Tensor:
        context_BC = self.layout.fields(x_BI).index_select(1, self.positions).flatten(1)
        gated: Tensor = x_BI * (2.0 * torch.sigmoid(self.out(self.hidden(context_BC))))
        return gated


def _gate(config: FinalMLPConfig, context: Context, layout: FieldLayout) -> nn.Module | None:
    if context is None:
        return None
    return ContextGate(layout, context, config.gate, config.activation) if context else LearnedGate(layout.size)
