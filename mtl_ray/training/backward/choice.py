"""Which way a training takes from losses to gradients."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mtl_ray import distributed
from mtl_ray.aggregation import Aggregation, Place
from mtl_ray.models import MultiTaskModel
from mtl_ray.training.backward.backward import Backward
from mtl_ray.training.backward.plain import PlainBackward
from mtl_ray.training.backward.ranks import sparse_tables
from mtl_ray.training.backward.representation import RepresentationBackward
from mtl_ray.training.backward.row_exchange import RowExchange
from mtl_ray.training.backward.shared import SharedBackward


class Backwards(NamedTuple):
    """The cheapest that do what is asked for; both may be one."""

    plain: Backward
    """For a step that wants no lengths of the tasks' gradients."""
    looking: Backward
    """For a step that wants them."""


def build_backward(model: MultiTaskModel, aggregation: Aggregation | None, on: Place, norms: bool) -> Backwards:
    """
    Args:
        aggregation: None: the plain sum.
        on: where tasks are compared, if they are.
        norms: whether some step wants the lengths of the tasks' gradients.
    """
    exchange_rows = RowExchange(sparse_tables(model))
    if aggregation is None:
        wrapped = _wrapped(model)
        plain = PlainBackward(wrapped, exchange_rows)
        return Backwards(plain, _looking(model, wrapped, exchange_rows, None, on) if norms else plain)
    wrapped = model if on == "shared" else _wrapped(model)
    looking = _looking(model, wrapped, exchange_rows, aggregation, on)
    return Backwards(looking, looking)


def _looking(
    model: MultiTaskModel, wrapped: nn.Module, exchange_rows: RowExchange, aggregation: Aggregation | None, on: Place
) -> Backward:
    if on == "shared":
        return SharedBackward(model, exchange_rows, aggregation)
    compared = tuple(model.task_names.index(name) for name in model.compared_tasks)
    return RepresentationBackward(wrapped, exchange_rows, model.cut, compared, aggregation)


def _wrapped(model: MultiTaskModel) -> nn.Module:
    if distributed.world_size() == 1:
        return model
    tables = {id(table) for table in sparse_tables(model)}
    # Their rows are exchanged by `Backward.finish`.
    rows = [name for name, parameter in model.named_parameters() if id(parameter) in tables]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, rows)  # type: ignore[no-untyped-call]
    # Buffers are constants, but for a batch norm's statistics, which come out equal on all ranks.
    return DistributedDataParallel(model, broadcast_buffers=False, gradient_as_bucket_view=True)
