"""Which way a training takes from losses to gradients."""

from __future__ import annotations

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mtl_ray import distributed
from mtl_ray.aggregation import Aggregation, Place
from mtl_ray.models import MultiTaskModel
from mtl_ray.training.backward.backward import Backward
from mtl_ray.training.backward.plain import PlainBackward
from mtl_ray.training.backward.ranks import sparse_tables
from mtl_ray.training.backward.representation import RepresentationBackward
from mtl_ray.training.backward.shared import SharedBackward


def build_backward(model: MultiTaskModel, aggregation: Aggregation | None, on: Place, norms: bool) -> Backward:
    """The cheapest that does what is asked for.

    Args:
        aggregation: None: the plain sum.
        on: where tasks are compared, if they are.
        norms: whether the lengths of the tasks' gradients are wanted.
    """
    if aggregation is None and not norms:
        return PlainBackward(_wrapped(model), sparse_tables(model))
    if on == "shared":
        return SharedBackward(model, aggregation)
    compared = tuple(model.task_names.index(name) for name in model.compared_tasks)
    return RepresentationBackward(_wrapped(model), sparse_tables(model), model.cut, compared, aggregation)


def _wrapped(model: MultiTaskModel) -> nn.Module:
    if distributed.world_size() == 1:
        return model
    tables = {id(table) for table in sparse_tables(model)}
    # Their rows are exchanged by `Backward.finish`.
    rows = [name for name, parameter in model.named_parameters() if id(parameter) in tables]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, rows)  # type: ignore[no-untyped-call]
    # Buffers are constants, but for a batch norm's statistics, which come out equal on all ranks.
    return DistributedDataParallel(model, broadcast_buffers=False, gradient_as_bucket_view=True)
