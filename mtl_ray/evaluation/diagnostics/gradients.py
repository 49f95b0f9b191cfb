"""Whether tasks pull what they share in one direction.

For two tasks s and t and one global batch

    cosine = <g_s, g_t> / (|g_s| |g_t|),    g_t = gradient of L_t

where L_t is the loss of t over that batch as training has it (`mtl_ray.tasks.losses`: sample and class weights,
corrected for sampling), without its task weight, which changes no direction. The model stands as the checkpoint left
it, in evaluation mode, so without dropout. The gradients are with respect to

- shared layers: `MultiTaskModel.shared_parameters()` but the embedding tables, all of them as one vector;
- embedding tables: those among the shared parameters. Tasks that are observed in different rows touch different ids,
  so a cosine near 0 says less here;
- encoded rows: what the encoders hand to the structure, of those encoders that two tasks or more read. In a shared
  bottom a conflict shows below the bottom, too; in an expert structure this is how far the gates have resolved it.

A task without a label in a batch, or without any gradient in a place, is left out of that batch's pairs. The mean over
batches is of cosines: a batch of large gradients counts no more than another.

Sources: Yu et al., Gradient Surgery for Multi-Task Learning, NeurIPS 2020, definition 1 (conflicting gradients: a
negative cosine); Wang et al., Gradient Vaccine, ICLR 2021, section 3.1 (mean cosines of task pairs).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from mtl_ray.batch import Batch
from mtl_ray.evaluation.diagnostics.result import Cosines
from mtl_ray.models import MultiTaskModel
from mtl_ray.tasks import Task
from mtl_ray.tasks.losses import task_losses

Place = Literal["shared layers", "embedding tables", "encoded rows"]


def gradient_cosines(model: MultiTaskModel, tasks: Mapping[str, Task], batches: Iterable[Batch]) -> tuple[Cosines, ...]:
    """Mean cosines over `batches` (on the model's device) in every place where two tasks have one; empty for one task.

    The model is in evaluation mode; its parameters and their `grad` stay as they are.
    """
    sums = {place: torch.zeros(len(tasks), len(tasks), dtype=torch.float64) for place in _places()}
    counts = {place: torch.zeros(len(tasks), len(tasks), dtype=torch.int64) for place in _places()}
    for batch in batches if len(tasks) > 1 else ():
        for place, gram in _grams(model, tasks, batch).items():
            norm = gram.diagonal().sqrt()
            defined = (norm > 0).outer(norm > 0)
            cosine = gram / torch.where(defined, norm.outer(norm), 1.0)
            # Rounding may lead a little beyond.
            sums[place] += torch.where(defined, cosine.clamp(-1.0, 1.0), 0.0)
            counts[place] += defined
    found = []
    for place in _places():
        pairs = counts[place] - torch.diag(counts[place].diagonal())
        if pairs.any():
            found.append(
                Cosines(
                    place=place,
                    tasks=tuple(tasks),
                    cosine=tuple(
                        tuple(total / number if number else None for total, number in zip(*row, strict=True))
                        for row in zip(sums[place].tolist(), counts[place].tolist(), strict=True)
                    ),
                    batches=tuple(tuple(row) for row in counts[place].tolist()),
                )
            )
    return tuple(found)


def _places() -> tuple[Place, ...]:
    return ("shared layers", "embedding tables", "encoded rows")


def _grams(model: MultiTaskModel, tasks: Mapping[str, Task], batch: Batch) -> dict[Place, Tensor]:
    """Inner products of the tasks' gradients in each place, float64 `[T, T]` on the CPU."""
    is_table = {id(table) for table in model.embedding_parameters()}
    shared = [parameter for parameter in model.shared_parameters() if parameter.requires_grad]
    layers = [parameter for parameter in shared if id(parameter) not in is_table]
    tables = [parameter for parameter in shared if id(parameter) in is_table]
    with torch.enable_grad():
        with _outputs_of(model.encoders) as encoded:
            logits = model(batch)
        _, weights, sums = task_losses(logits, batch, tasks)
        gradients: list[list[_Gradient]] = []
        for total, weight in zip(sums, weights, strict=True):
            inputs: list[Tensor] = [*layers, *tables, *encoded]
            of_task: tuple[Tensor | None, ...] = (None,) * len(inputs)
            if weight > 0 and inputs:
                of_task = torch.autograd.grad(total / weight, inputs, retain_graph=True, allow_unused=True)
            gradients.append([_Gradient.of(gradient) for gradient in of_task])
    first, second = len(layers), len(layers) + len(tables)
    read = [at for at in range(second, second + len(encoded)) if sum(not row[at].empty for row in gradients) > 1]
    places: dict[Place, Sequence[int]] = {
        "shared layers": range(first),
        "embedding tables": range(first, second),
        "encoded rows": read,
    }
    return {place: _gram([[row[at] for at in chosen] for row in gradients]) for place, chosen in places.items()}


class _Gradient:
    """A gradient without the lines in which it is 0: most of those of an embedding table."""

    def __init__(self, lines: Tensor, values: Tensor, size: int) -> None:
        self.lines = lines
        self.values = values
        self.size = size

    @classmethod
    def of(cls, gradient: Tensor | None) -> _Gradient:
        if gradient is None:
            return cls(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 0, dtype=torch.float64), 0)
        matrix = (gradient.to_dense() if gradient.is_sparse else gradient).flatten(1 if gradient.ndim > 1 else 0)
        matrix = matrix.unsqueeze(1) if matrix.ndim == 1 else matrix
        lines = matrix.ne(0).any(dim=1).nonzero().squeeze(1)
        return cls(lines.cpu(), matrix[lines].double().cpu(), len(matrix))

    @property
    def empty(self) -> bool:
        return not len(self.lines)

    def dot(self, other: _Gradient) -> float:
        """Inner product with a gradient of the same tensor."""
        if self.empty or other.empty:
            return 0.0
        position = torch.full((self.size,), -1, dtype=torch.int64)
        position[other.lines] = torch.arange(len(other.lines))
        at = position[self.lines]
        both = at >= 0
        return float((self.values[both] * other.values[at[both]]).sum())


def _gram(rows: Sequence[Sequence[_Gradient]]) -> Tensor:
    products = [[sum(a.dot(b) for a, b in zip(one, other, strict=True)) for other in rows] for one in rows]
    return torch.tensor(products, dtype=torch.float64)


@contextmanager
def _outputs_of(modules: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    """Collects what the modules put out while the block runs, so that losses can be differentiated by it."""
    found: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor) -> Tensor:
        # Numbers alone pass an encoder without a parameter, so nothing asks for their gradient.
        output = output if output.requires_grad else output.detach().requires_grad_()
        found.append(output)
        return output

    hooks = [module.register_forward_hook(keep) for module in modules]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
