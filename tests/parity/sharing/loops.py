"""Layers of one row at a time, written as plain loops over units and experts, to compare architectures with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mtl_ray.models import MultiTaskModel
from mtl_ray.models.experts import Experts
from mtl_ray.models.mlp import MLP
from mtl_ray.models.norm import BatchNorm, LayerNorm
from mtl_ray.models.settings import ModelSettings
from tests.unit.models.task_sets import TaskSet

ROWS = 11
TOLERANCE = 1e-10


def randomised(config: ModelSettings, tasks: TaskSet, seed: int = 3) -> MultiTaskModel:
    """A float64 model in evaluation mode; no parameter is at a special value such as a zero bias or an equal gate."""
    model = config.build(tasks.schema, tasks.tasks()).double().eval()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random, dtype=torch.float64) / 3)
        for module in model.modules():
            if isinstance(module, BatchNorm):
                module.running_mean.normal_(generator=random)
                module.running_var.uniform_(0.5, 2.0, generator=random)
    return model


def assert_logits(
    config: ModelSettings, tasks: TaskSet, reference: Callable[[MultiTaskModel, list[Tensor]], Sequence[Tensor]]
) -> None:
    """The model's logits, and the gradients of all its parameters, are those of the towers over `reference`: inputs of
    the towers of one row, from the row's encodings."""
    model = randomised(config, tasks)
    batch = tasks.batch(ROWS, dtype=torch.float64)
    encoded = [encoder(batch) for encoder in model.encoders]
    found = model(batch)
    expected: dict[str, list[Tensor]] = {task: [] for task in tasks.schema.tasks}
    for row in range(ROWS):
        inputs = reference(model, [x[row] for x in encoded])
        for task, x in zip(tasks.schema.tasks, inputs, strict=True):
            expected[task].append(tower(model, task, x))
            torch.testing.assert_close(found[task][row], expected[task][row], rtol=0, atol=TOLERANCE)
    wanted = gradients(model, [torch.stack(rows) for rows in expected.values()])
    for name, grad in gradients(model, list(found.values())).items():
        torch.testing.assert_close(grad, wanted[name], rtol=0, atol=TOLERANCE)


def gradients(model: MultiTaskModel, logits: Sequence[Tensor]) -> dict[str, Tensor]:
    """Of a sum in which every logit has a factor of its own."""
    model.zero_grad()
    total = torch.zeros((), dtype=torch.float64)
    for number, task_logits in enumerate(logits, start=1):
        factors = torch.arange(1, task_logits.numel() + 1, dtype=torch.float64).view_as(task_logits)
        total = total + (task_logits * torch.cos(number * factors)).sum()
    total.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def assert_representation(
    config: ModelSettings, tasks: TaskSet, reference: Callable[[MultiTaskModel, list[Tensor]], Tensor]
) -> None:
    """`representation` of each row is `reference` of its encodings."""
    model = randomised(config, tasks)
    batch = tasks.batch(ROWS, dtype=torch.float64)
    encoded = [encoder(batch) for encoder in model.encoders]
    found = model.representation(batch)
    for row in range(ROWS):
        expected = reference(model, [x[row] for x in encoded])
        torch.testing.assert_close(found[row], expected, rtol=0, atol=TOLERANCE)


def activated(h: Tensor, activation: str = "relu") -> Tensor:
    units = []
    for unit in h:
        if activation == "silu":
            units.append(unit / (1 + torch.exp(-unit)))
        else:
            units.append(unit if unit > 0 else unit * 0)
    return torch.stack(units)


def normalised(h: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Layer norm of one vector: Ba, Kiros and Hinton (2016), equation 4, with torch's epsilon."""
    return (h - h.mean()) / torch.sqrt(h.var(correction=0) + 1e-5) * scale + shift


def normed(norm: nn.Module, h: Tensor, flat: slice) -> Tensor:
    """Layer norm, or batch norm by its running statistics, of one expert's units `flat`."""
    assert isinstance(norm, LayerNorm | BatchNorm)
    if isinstance(norm, LayerNorm):
        return normalised(h, norm.weight[flat], norm.bias[flat])
    normal = (h - norm.running_mean[flat]) / torch.sqrt(norm.running_var[flat] + 1e-5)
    return normal * norm.weight[flat] + norm.bias[flat]


def linear(x: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    units = []
    for unit, row in enumerate(weight_OI):
        total = (row * x).sum()
        units.append(total if bias_O is None else total + bias_O[unit])
    return torch.stack(units)


def mlp(module: nn.Module, x: Tensor, activation: str = "relu") -> Tensor:
    assert isinstance(module, MLP)
    for layer, weights in enumerate(module.linears):
        assert isinstance(weights, nn.Linear)
        x = linear(x, weights.weight, weights.bias)
        if module.norms is not None:
            x = normed(module.norms[layer], x, slice(None))
        x = activated(x, activation)
    return x


def tower(model: MultiTaskModel, task: str, x: Tensor, activation: str = "relu") -> Tensor:
    module = model.towers[f"task_{task}"]
    head = module.head
    assert isinstance(head, nn.Linear)
    if module.mlp.norms is not None:
        activation = "silu"  # HoME's defaults, the one model here with norms
    return linear(mlp(module.mlp, x, activation), head.weight, head.bias)


def expert(experts: nn.Module, index: int, x: Tensor, activation: str = "relu") -> Tensor:
    """One expert of several, from its part of the stacked weights."""
    assert isinstance(experts, Experts)
    for layer in range(len(experts.weights)):
        x = expert_layer(experts, index, layer, x, activation)
    return x


def expert_layer(experts: Experts, index: int, layer: int, x: Tensor, activation: str = "relu") -> Tensor:
    weight = experts.weights[layer][index]
    flat = slice(index * weight.shape[1], (index + 1) * weight.shape[1])
    x = linear(x, weight.T, experts.biases[layer][flat] if len(experts.biases) else None)
    if len(experts.norms):
        x = normed(experts.norms[layer], x, flat)
    return activated(x, activation)


def all_experts(experts: nn.Module, x: Tensor) -> list[Tensor]:
    assert isinstance(experts, Experts)
    return [expert(experts, index, x) for index in range(experts.num_experts)]


def softmax(scores: Sequence[Tensor]) -> list[Tensor]:
    exponentials = [torch.exp(score) for score in scores]
    total = torch.zeros_like(exponentials[0])
    for value in exponentials:
        total = total + value
    return [value / total for value in exponentials]


def gated(weight_ED: Tensor, x: Tensor, outputs: Sequence[Tensor], temperature: float = 1.0) -> Tensor:
    """Sum of the outputs weighed by softmax(W x / temperature)."""
    weights = softmax([score / temperature for score in linear(x, weight_ED)])
    return weighted(weights, outputs)


def weighted(weights: Sequence[Tensor], outputs: Sequence[Tensor]) -> Tensor:
    total = torch.zeros_like(outputs[0])
    for weight, output in zip(weights, outputs, strict=True):
        total = total + weight * output
    return total


def sigmoid(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value))
