"""One table, of which every rank holds a share of the rows."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mtl_ray.errors import MtlRayError

TABLE, IDS = "table", "ids"
CHUNK = 2**16
"""Rows that are drawn at once: the rows of a table are the same however many ranks share them."""


class ShardedTable(nn.Module):
    """In the place of an `EmbeddingTable`: ids int `[B, N]` to `[B, N, D]`, from whichever ranks hold the rows.

    Every rank calls it in the same steps, with batches of any size: forward and backward are collectives. Rows learn in
    the backward pass itself, by row-wise Adagrad on the gradient's mean over ranks, and have no `.grad`: the model's
    parameters are those of the rest. `state_dict` has the whole `weight` between `gather` and `release`, on rank 0.

    Attributes:
        lookups: since the last step.
    """

    _sharded: Any
    """TorchRec's module. Not a submodule: its parameters are neither DDP's to average nor an optimizer's to move."""

    def __init__(
        self, rows: int, dim: int, std: float, seed: int, rate: float, eps: float, device: torch.device
    ) -> None:
        """Collective."""
        super().__init__()
        from torchrec.distributed.embedding import EmbeddingCollectionSharder
        from torchrec.distributed.sharding_plan import construct_module_sharding_plan, row_wise
        from torchrec.distributed.types import ShardingEnv
        from torchrec.modules.embedding_configs import EmbeddingConfig
        from torchrec.modules.embedding_modules import EmbeddingCollection
        from torchrec.optim import RowWiseAdagrad
        from torchrec.optim.apply_optimizer_in_backward import apply_optimizer_in_backward

        self.rows, self.dim = rows, dim
        self.lookups = 0
        self._gathered: tuple[Tensor, Tensor] | None = None
        world = dist.group.WORLD
        config = EmbeddingConfig(name=TABLE, num_embeddings=rows, embedding_dim=dim, feature_names=[IDS])
        whole = EmbeddingCollection(tables=[config], device=torch.device("meta"))
        apply_optimizer_in_backward(RowWiseAdagrad, whole.parameters(), {"lr": rate, "eps": eps})
        sharder = EmbeddingCollectionSharder()
        ranks = dist.get_world_size()
        plan = construct_module_sharding_plan(
            whole, {TABLE: row_wise()}, sharder, local_size=ranks, world_size=ranks, device_type=device.type
        )
        sharded = sharder.shard(whole, plan, ShardingEnv.from_process_group(world), device)
        object.__setattr__(self, "_sharded", sharded)
        self._draw(std, seed)

    def forward(self, ids: Tensor) -> Tensor:
        if torch.is_inference_mode_enabled():
            # FBGEMM's operators have no form for it.
            with torch.inference_mode(False), torch.no_grad():
                return self._looked_up(ids.clone())
        if torch.is_grad_enabled():
            self.lookups += 1
            if self.lookups > 1:
                raise MtlRayError("A sharded embedding table was looked up twice in a step: it would learn twice.")
        return self._looked_up(ids)

    def _looked_up(self, ids: Tensor) -> Tensor:
        from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

        size, width = ids.shape
        lengths = torch.full((size,), width, dtype=torch.int32, device=ids.device)
        found = self._sharded(KeyedJaggedTensor(keys=[IDS], values=ids.reshape(-1).long(), lengths=lengths))
        values: Tensor = found[IDS].values()
        return values.view(size, width, self.dim)

    def set_rate(self, rate: float) -> None:
        """Learning rate of the coming backward passes."""
        optimizer = self._sharded.fused_optimizer
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()  # hands the rate down, and moves nothing

    def gather(self) -> None:
        """Bring all rows and their accumulators to rank 0's CPU. Collective."""
        weight, sums = self._whole(self._weight(), self.dim), self._whole(self._sums()[:, None], 1)
        if weight is not None and sums is not None:
            self._gathered = weight, sums[:, 0]

    def release(self) -> None:
        """Forget what was gathered."""
        self._gathered = None

    @property
    def gathered_sums(self) -> Tensor | None:
        """Adagrad's accumulators of all rows, `[rows]`, on rank 0 after `gather`."""
        return None if self._gathered is None else self._gathered[1]

    def load(self, weight: Tensor) -> None:
        """Take this rank's rows of `[rows, D]`."""
        self._weight().copy_(weight[self._own])

    def load_sums(self, sums: Tensor) -> None:
        """Take this rank's accumulators of `[rows]`."""
        self._sums().copy_(sums[self._own])

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:  # noqa: ARG002
        if self._gathered is not None:
            destination[f"{prefix}weight"] = self._gathered[0]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        _, _, missing, *_ = rest
        weight = state_dict.get(f"{prefix}weight")
        if weight is None:
            missing.append(f"{prefix}weight")
        else:
            self.load(weight)

    @property
    def _block(self) -> int:
        """Most rows that a rank holds: all but the last ranks hold as many."""
        return -(-self.rows // dist.get_world_size())

    @property
    def _own(self) -> slice:
        begin = min(self.rows, dist.get_rank() * self._block)
        return slice(begin, min(self.rows, begin + self._block))

    def _weight(self) -> Tensor:
        """This rank's rows `[own, D]`, to be written to."""
        return self._local(self._sharded.state_dict()[f"embeddings.{TABLE}.weight"], (0, self.dim))

    def _sums(self) -> Tensor:
        """Their accumulators `[own]`, to be written to."""
        (state,) = self._sharded.fused_optimizer.state_dict()["state"].values()
        (sums,) = state.values()
        return self._local(sums, (0,))

    def _local(self, sharded: Any, nothing: tuple[int, ...]) -> Tensor:
        shards = sharded.local_shards()
        found: Tensor = shards[0].tensor if shards else torch.zeros(nothing)
        own = self._own
        assert len(found) == own.stop - own.start
        return found

    @torch.no_grad()
    def _draw(self, std: float, seed: int) -> None:
        own, weight = self._own, self._weight()
        for begin in range(own.start // CHUNK * CHUNK, own.stop, CHUNK):
            draws = torch.Generator().manual_seed(hash((seed, begin)) % 2**63)
            rows = std * torch.randn(CHUNK, self.dim, generator=draws)
            low, high = max(begin, own.start), min(begin + CHUNK, own.stop)
            weight[low - own.start : high - own.start] = rows[low - begin : high - begin]

    def _whole(self, own: Tensor, width: int) -> Tensor | None:
        padded = own.new_zeros(self._block, width)
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in range(dist.get_world_size())] if dist.get_rank() == 0 else None
        dist.gather(padded, parts)
        return None if parts is None else torch.cat(parts)[: self.rows].cpu()
