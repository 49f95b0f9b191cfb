"""Gates from prior features: Chang et al., PEPNet: Parameter and Embedding Personalized Network for Infusing with
Personalized Prior Information, KDD 2023."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mtl_ray.errors import ConfigError
from mtl_ray.models.encoders.names import check_known
from mtl_ray.models.encoding import EncodingSet
from mtl_ray.models.initialisation import DEFAULT_INIT, Init, initialise_linear
from mtl_ray.models.mlp import MLP
from mtl_ray.models.settings import HiddenSizes, ModelSettings
from mtl_ray.models.sharing.sharing import Encoded, Sharing, parameters_of
from mtl_ray.schema import BatchSchema
from mtl_ray.tasks.graph import TaskGraph

GAMMA = 2.0
"""Largest factor of a gate, as in the paper."""


class PEPNetConfig(ModelSettings):
    """`model: {name: pepnet, domain: [tab], prior: [user_id, item_id, author_id]}`."""

    name: Literal["pepnet"] = "pepnet"
    domain: tuple[str, ...] | None = None
    """Features that gate the embeddings (EPNet), such as the page; null: all categorical features."""
    prior: tuple[str, ...] | None = None
    """Features that gate each task's layers (PPNet), such as user, item and author; null: all categorical features."""
    gate: int = Field(default=64, ge=1)
    """Hidden size of the gates."""
    bottom: HiddenSizes = (256, 128)
    """Hidden sizes of each task's gated MLP, below its tower."""

    def check_features(self, schema: BatchSchema) -> None:
        super().check_features(schema)
        for key, features in (("domain", self.domain), ("prior", self.prior)):
            check_known(features or (), schema, f"model.{key}")
            if not (schema.categorical if features is None else features):
                raise ConfigError(
                    "pepnet has no feature to gate with.",
                    where=f"model.{key}",
                    found="nothing" if features is not None else "no categorical feature",
                    allowed="at least one feature",
                    fix="name features of the training set",
                )

    def encoding_sets(self, schema: BatchSchema) -> tuple[EncodingSet, ...]:
        categorical = tuple(feature.name for feature in schema.categorical)
        domain = categorical if self.domain is None else self.domain
        prior = categorical if self.prior is None else self.prior
        return EncodingSet(), EncodingSet(features=domain), EncodingSet(features=prior)

    def build_sharing(self, in_sizes: Sequence[int], graph: TaskGraph) -> PEPNet:
        in_size, domain_size, prior_size = in_sizes
        sizes = [in_size, *self.bottom]
        towers = []
        for _ in graph.names:
            layers = [self._mlp(size, (above,)) for size, above in zip(sizes, self.bottom, strict=False)]
            gates = [GateNU(prior_size + in_size, self.gate, size) for size in sizes[:-1]]
            towers.append(GatedMLP(layers, gates))
        return PEPNet(GateNU(domain_size + in_size, self.gate, in_size), towers)


class GateNU(nn.Module):
    """Gate neural unit (Gate NU): gamma * sigmoid(W' relu(W x + b) + b'), `[B, out]`. W' starts small and b'
    at 0: factors of 1."""

    def __init__(self, in_size: int, hidden: int, out_size: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(in_size, hidden)
        self.out = nn.Linear(hidden, out_size)
        self.initialise(DEFAULT_INIT)
        nn.init.zeros_(self.hidden.bias)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)

    def initialise(self, init: Init) -> None:
        """Draw W."""
        initialise_linear(self.hidden.weight, init)

    def forward(self, x_BD: Tensor) -> Tensor:
        return GAMMA * torch.sigmoid(self.out(torch.relu(self.hidden(x_BD))))


class GatedMLP(nn.Module):
    """PPNet of one task: each layer reads delta_l * h_(l-1), h_0 = O_ep, with delta_l from the prior features and O_ep.

    Deviation: a gate of its own for each layer, where the paper cuts one gate's output into pieces.
    """

    def __init__(self, layers: Sequence[MLP], gates: Sequence[GateNU]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.gates = nn.ModuleList(gates)
        self.out_size = layers[-1].out_size

    def forward(self, x_BD: Tensor, prior_BP: Tensor) -> Tensor:
        for layer, gate in zip(self.layers, self.gates, strict=True):
            x_BD = layer(gate(prior_BP) * x_BD)
        return x_BD


class PEPNet(Sharing):
    """EPNet: O_ep = delta * E with delta = GateNU([domain, stop_gradient(E)]). PPNet: each task's layers are gated by
    GateNU([prior, stop_gradient(O_ep)]).

    Deviation: domain and prior features have embedding tables of their own beside those of E.
    """

    def __init__(self, embedding_gate: GateNU, towers: Sequence[GatedMLP]) -> None:
        super().__init__()
        self.embedding_gate = embedding_gate
        self.task_layers = nn.ModuleList(towers)
        self.out_sizes = [tower.out_size for tower in towers]

    def forward(self, encoded: Encoded) -> tuple[Tensor, ...]:
        personal_BD, prior_BP = self.cut(self.representation(encoded), encoded[2])
        prior_BP = torch.cat([prior_BP, personal_BD.detach()], dim=1)
        return tuple(layers(personal_BD, prior_BP) for layers in self.task_layers)

    def representation(self, encoded: Encoded) -> Tensor:
        """O_ep, `[B, D_in]`."""
        x_BD, domain_BP, _ = encoded
        factor_BD: Tensor = self.embedding_gate(torch.cat([domain_BP, x_BD.detach()], dim=1))
        return factor_BD * x_BD

    def task_parameters(self, index: int) -> list[nn.Parameter]:
        return parameters_of(self.task_layers[index])
