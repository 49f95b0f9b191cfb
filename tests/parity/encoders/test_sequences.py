"""Encoders of histories against references written as loops over the entries that are present, in float64 to 1e-10."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mtl_ray.models.encoders.sequences import HistorySize
from mtl_ray.models.encoders.sequences.din import DIN
from mtl_ray.models.encoders.sequences.hstu import HSTULayer
from mtl_ray.models.encoders.sequences.recurrent import Recurrent
from mtl_ray.models.encoders.sequences.transformer import TransformerLayer
from tests.parity.sharing.loops import activated, linear, mlp, normalised, softmax, weighted
from tests.unit.models.encoder_cases import build_sequence, factors, random_history, with_and_without_ages

ROWS, LENGTH, WIDTH = 14, 5, 6
TOLERANCE = 1e-10


@dataclass(frozen=True)
class Row:
    """A history without its padding."""

    entries: list[Tensor]
    ages: list[float] | None
    distances: list[int]
    """How many places before the candidate each entry stands."""
    target: Tensor


def bucket(age: float) -> int:
    """0 below a second, k from 2^(k-1) to below 2^k seconds, at most 31."""
    k = 0
    while k < 31 and age >= 2.0**k:
        k += 1
    return k


def assert_equal(leaf: Mapping[str, Any], ages: bool, reference: Callable[[nn.Module, Row], Tensor]) -> None:
    """Values, and the gradients of all parameters, are those of `reference` row by row; zeros without an entry."""
    encoder = build_sequence(leaf, HistorySize(WIDTH, LENGTH, ages, 0.01))
    history = random_history(ROWS, LENGTH, WIDTH, ages)
    expected = []
    for row in range(ROWS):
        places = [place for place in range(LENGTH) if history.present[row, place]]
        if not places:
            expected.append(torch.zeros(WIDTH, dtype=torch.float64))
            continue
        assert history.target is not None
        known = [float(history.ages[row, place]) for place in places] if history.ages is not None else None
        entries = [history.entries[row, place] for place in places]
        expected.append(reference(encoder, Row(entries, known, [LENGTH - p for p in places], history.target[row])))
    wanted, found = torch.stack(expected), encoder(history)
    torch.testing.assert_close(found, wanted, rtol=0, atol=TOLERANCE)
    parameters = list(encoder.parameters())
    if parameters:
        grads = torch.autograd.grad((found * factors(found)).sum(), parameters)
        for mine, theirs in zip(grads, torch.autograd.grad((wanted * factors(wanted)).sum(), parameters), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=TOLERANCE)


def aged(encoder: nn.Module, row: Row) -> list[Tensor]:
    """The entries with the embeddings of their ages."""
    if row.ages is None:
        return row.entries
    table = encoder.age_embedding.table
    return [entry + table[bucket(age)] for entry, age in zip(row.entries, row.ages, strict=True)]


@with_and_without_ages
def test_mean(ages: bool) -> None:
    assert_equal({"name": "mean"}, ages, lambda _, row: torch.stack(row.entries).mean(dim=0))


@with_and_without_ages
def test_attention(ages: bool) -> None:
    def reference(encoder: nn.Module, row: Row) -> Tensor:
        scores = [(encoder.query * entry).sum() / math.sqrt(WIDTH) for entry in row.entries]
        if row.ages is not None:
            values = encoder.age_bias.values
            scores = [score + values[bucket(age)] for score, age in zip(scores, row.ages, strict=True)]
        return weighted(softmax(scores), row.entries)

    assert_equal({"name": "attention"}, ages, reference)


@with_and_without_ages
@pytest.mark.parametrize("softmaxed", [False, True])
def test_din(softmaxed: bool, ages: bool) -> None:
    def reference(encoder: nn.Module, row: Row) -> Tensor:
        assert isinstance(encoder, DIN)
        entries, scores = aged(encoder, row), []
        for e in entries:
            hidden = mlp(encoder.unit, torch.cat([e, row.target, e - row.target, e * row.target]))
            scores.append(linear(hidden, encoder.weigh.weight, encoder.weigh.bias)[0])
        return weighted(softmax(scores) if softmaxed else scores, entries)

    assert_equal({"name": "din", "hidden": [7, 5], "softmax": softmaxed}, ages, reference)


@with_and_without_ages
@pytest.mark.parametrize("extra", [{}, {"hidden": 4, "layers": 3}], ids=["one-layer", "three-layers"])
@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_recurrent(name: str, extra: dict[str, int], ages: bool) -> None:
    """Against the cells of torch, step by step over the unpadded tail."""
    kind = {"gru": nn.GRUCell, "lstm": nn.LSTMCell}[name]

    def reference(encoder: nn.Module, row: Row) -> Tensor:
        assert isinstance(encoder, Recurrent)
        inputs = aged(encoder, row)
        for layer in range(encoder.layers):
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            weights = dict(zip(names, list(encoder.weights)[4 * layer : 4 * layer + 4], strict=True))
            cell = kind(inputs[0].numel(), encoder.hidden, dtype=torch.float64)
            hidden, memory = torch.zeros(2, 1, encoder.hidden, dtype=torch.float64)
            outputs = []
            for x in inputs:
                state = hidden if name == "gru" else (hidden, memory)
                state = torch.func.functional_call(cell, weights, (x.unsqueeze(0), state))
                hidden, memory = (state, memory) if name == "gru" else state
                outputs.append(hidden[0])
            inputs = outputs
        return inputs[-1] if encoder.out is None else linear(inputs[-1], encoder.out.weight, encoder.out.bias)

    assert_equal({"name": name, **extra}, ages, reference)


def test_the_recurrent_weights_are_those_of_torch_modules() -> None:
    history = random_history(3, LENGTH, WIDTH, ages=False)
    everything = history._replace(present=torch.ones_like(history.present))
    for name, kind in (("gru", nn.GRU), ("lstm", nn.LSTM)):
        encoder = build_sequence({"name": name, "layers": 2}, HistorySize(WIDTH, LENGTH, False, 0.01))
        theirs = kind(WIDTH, WIDTH, 2, batch_first=True, dtype=torch.float64)
        theirs.load_state_dict(dict(zip(theirs.state_dict(), encoder.weights, strict=True)))
        torch.testing.assert_close(encoder(everything), theirs(history.entries)[0][:, -1], rtol=0, atol=1e-12)


@with_and_without_ages
@pytest.mark.parametrize("layers", [1, 2])
def test_transformer(layers: int, ages: bool) -> None:
    heads, size = 2, WIDTH // 2

    def attended(layer: TransformerLayer, xs: list[Tensor], asking: Tensor) -> Tensor:
        parts = []
        for head in range(heads):
            cut = slice(head * size, (head + 1) * size)
            q = linear(asking, layer.query.weight)[cut]
            scores = [(q * linear(x, layer.key.weight)[cut]).sum() / math.sqrt(size) for x in xs]
            parts.append(weighted(softmax(scores), [linear(x, layer.value.weight)[cut] for x in xs]))
        return linear(torch.cat(parts), layer.out.weight)

    def reference(encoder: nn.Module, row: Row) -> Tensor:
        places, xs = [*row.distances, 0], [*row.entries, row.target]
        xs = [x + encoder.positions[place] for x, place in zip(xs, places, strict=True)]
        if row.ages is not None:
            table = encoder.age_embedding.table
            xs = [x + table[bucket(age)] for x, age in zip(xs, [*row.ages, 0.0], strict=True)]
        for layer in encoder.layers:
            outputs = []
            for asking in xs:
                norm, last = layer.attention_norm, layer.feed_forward_norm
                s = normalised(asking + attended(layer, xs, asking), norm.weight, norm.bias)
                inner = linear(s, layer.up.weight, layer.up.bias)
                inner = torch.stack([unit if unit > 0 else 0.01 * unit for unit in inner])
                outputs.append(
                    normalised(s + linear(inner, layer.down.weight, layer.down.bias), last.weight, last.bias)
                )
            xs = outputs
        return xs[-1]

    assert_equal({"name": "transformer", "layers": layers, "heads": heads, "hidden": 5}, ages, reference)


@with_and_without_ages
@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (2, 3)])
def test_hstu(layers: int, heads: int, ages: bool) -> None:
    size = WIDTH // heads

    def output(layer: HSTULayer, xs: list[Tensor], places: list[int], times: list[float] | None, i: int) -> Tensor:
        """Y of entry i."""
        projected = []
        for x in xs:
            mean, variance = x.mean(), x.var(correction=0)
            normed = (x - mean) / torch.sqrt(variance + 1e-5) * layer.norm.weight + layer.norm.bias
            projected.append(activated(linear(normed, layer.project.weight, layer.project.bias), "silu"))
        u, _, q, _ = projected[i].split(WIDTH)
        parts = []
        for head in range(heads):
            cut, total = slice(head * size, (head + 1) * size), torch.zeros(size, dtype=torch.float64)
            for j in range(i + 1):
                _, v, _, k = projected[j].split(WIDTH)
                score = (q[cut] * k[cut]).sum() / math.sqrt(size) + layer.position_bias[places[j] - places[i]]
                if times is not None:
                    score = score + layer.age_bias.values[bucket(times[j] - times[i])]
                total = total + activated(score.view(1), "silu")[0] / (LENGTH + 1) * v[cut]
            parts.append(total)
        mixed = torch.cat(parts)
        mixed = (mixed - mixed.mean()) / torch.sqrt(mixed.var(correction=0) + 1e-6)
        mixed = mixed * layer.mixed_norm.weight + layer.mixed_norm.bias
        return linear(mixed * u, layer.out.weight, layer.out.bias)

    def reference(encoder: nn.Module, row: Row) -> Tensor:
        xs, places = [*row.entries, row.target], [*row.distances, 0]
        times = [*row.ages, 0.0] if row.ages is not None else None
        for layer in encoder.layers:
            xs = [x + output(layer, xs, places, times, i) for i, x in enumerate(xs)]
        return xs[-1]

    assert_equal({"name": "hstu", "layers": layers, "heads": heads}, ages, reference)
