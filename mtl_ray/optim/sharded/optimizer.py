"""The learning rate and the state of sharded tables, as a schedule and a checkpoint see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch.optim import Optimizer

from mtl_ray.optim.sharded.table import ShardedTable


class ShardedOptimizer(Optimizer):
    """The tables learn in the backward pass; `zero_grad`, before it, tells them the group's learning rate, and `step`
    does nothing. The state has the form of `RowwiseAdagrad`'s, so that a checkpoint does not tell where rows lay; it is
    there on rank 0 while the tables are gathered."""

    def __init__(self, tables: Sequence[ShardedTable], rate: float, eps: float) -> None:
        self.tables = tuple(tables)
        super().__init__([{"name": "embeddings", "params": [], "lr": rate, "weight_decay": 0.0}], {"eps": eps})

    def zero_grad(self, set_to_none: bool = True) -> None:  # noqa: ARG002
        """A step begins."""
        for table in self.tables:
            table.set_rate(self.param_groups[0]["lr"])
            table.lookups = 0

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """`closure` is not called."""
        assert closure is None

    def state_dict(self) -> dict[str, Any]:
        """As `RowwiseAdagrad` gives it."""
        sums = {at: {"sum": table.gathered_sums} for at, table in enumerate(self.tables)}
        group = {**self.param_groups[0], "params": list(range(len(self.tables)))}
        return {"state": {at: own for at, own in sums.items() if own["sum"] is not None}, "param_groups": [group]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What `state_dict` gave, or `RowwiseAdagrad`'s."""
        for at, table in enumerate(self.tables):
            table.load_sums(state_dict["state"][at]["sum"])
        (group,) = state_dict["param_groups"]
        self.param_groups[0].update({name: value for name, value in group.items() if name != "params"})
