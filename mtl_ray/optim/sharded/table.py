"""One table, of which every rank holds a share of the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mtl_ray.embedding_table import EmbeddingTable
from mtl_ray.errors import MtlRayError
from mtl_ray.optim.sharded.plan import Shard, TablePlan

CHUNK = 2**16
"""Rows that are drawn at once: the rows of a table are the same however many ranks share them."""


class ShardedTable(nn.Module):
    """In the place of an `EmbeddingTable`: ids int `[B, N]` to `[B, N, D]`, from whichever ranks hold the rows.

    Each of the N columns has ids of one vocabulary. Every rank calls it in the same steps, with batches of any size:
    forward and backward are collectives. Rows learn in the backward pass itself, by row-wise Adagrad on the gradient's
    mean over ranks, and have no `.grad`: the model's parameters are those of the rest. `state_dict` has the whole
    `weight` between `gather` and `release`, on rank 0.

    Attributes:
        lookups: since the last step.
    """

    _sharded: Any
    """TorchRec's module. Not a submodule: its parameters are neither DDP's to average nor an optimizer's to move."""
    _last_rows: Tensor
    """Of all parts but the last, int64."""

    def __init__(self, table: EmbeddingTable, plan: TablePlan, seed: int, device: torch.device) -> None:
        """Collective. `plan`: for as many ranks as there are."""
        super().__init__()
        from torchrec.distributed.embedding import EmbeddingCollectionSharder
        from torchrec.distributed.types import ShardingEnv

        self.rows, self.dim = table.num_embeddings, table.embedding_dim
        self.plan = plan
        self.lookups = 0
        self._gathered: tuple[Tensor, Tensor] | None = None
        self._own = [shard for shard in plan.shards if shard.rank == dist.get_rank() and shard.last > shard.first]
        last_rows = torch.tensor([part.first + part.rows - 1 for part in plan.parts[:-1]], dtype=torch.int64)
        self.register_buffer("_last_rows", last_rows, persistent=False)
        world = ShardingEnv.from_process_group(dist.group.WORLD)
        sharded = EmbeddingCollectionSharder().shard(plan.collection, plan.placement, world, device)
        object.__setattr__(self, "_sharded", sharded)
        self._draw(table.std, seed)

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
        columns = self._columns(ids)
        values, lengths = [], []
        for part, own in zip(self.plan.parts, columns, strict=True):
            of_part = ids if len(own) == width else ids[:, own]
            values.append(of_part.reshape(-1).long() - part.first)
            lengths.append(torch.full((size,), len(own), dtype=torch.int32, device=ids.device))
        names = [part.name for part in self.plan.parts]
        found = self._sharded(KeyedJaggedTensor(keys=names, values=torch.cat(values), lengths=torch.cat(lengths)))
        looked_up = [
            found[name].values().view(size, len(own), self.dim) for name, own in zip(names, columns, strict=True) if own
        ]
        if len(looked_up) == 1:
            (of_one,) = looked_up
            return of_one
        order = [column for own in columns for column in own]
        joined = torch.cat(looked_up, dim=1)
        back = sorted(range(width), key=order.__getitem__)
        return joined if back == list(range(width)) else joined[:, back]

    def _columns(self, ids: Tensor) -> list[list[int]]:
        """Of each part, the columns with its ids."""
        width = ids.shape[1]
        if not len(self._last_rows) or not len(ids):
            return [list(range(width)), *([] for _ in self.plan.parts[1:])]
        of_column = torch.bucketize(ids[0].long(), self._last_rows).tolist()
        return [[at for at, part in enumerate(of_column) if part == own] for own in range(len(self.plan.parts))]

    def set_rate(self, rate: float) -> None:
        """Learning rate of the coming backward passes."""
        optimizer = self._sharded.fused_optimizer
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()  # hands the rate down, and moves nothing

    def gather(self) -> None:
        """Bring all rows and their accumulators to rank 0's CPU. Collective."""
        weights, sums = self._weights(), self._sums()
        weight = self._whole([weights[shard] for shard in self._own], self.dim)
        accumulated = self._whole([sums[shard][:, None] for shard in self._own], 1)
        if weight is not None and accumulated is not None:
            self._gathered = weight, accumulated[:, 0]

    def release(self) -> None:
        """Forget what was gathered."""
        self._gathered = None

    @property
    def gathered_sums(self) -> Tensor | None:
        """Adagrad's accumulators of all rows, `[rows]`, on rank 0 after `gather`."""
        return None if self._gathered is None else self._gathered[1]

    def load(self, weight: Tensor) -> None:
        """Take this rank's rows of `[rows, D]`."""
        for shard, own in self._weights().items():
            own.copy_(weight[shard.first : shard.last])

    def load_sums(self, sums: Tensor) -> None:
        """Take this rank's accumulators of `[rows]`."""
        for shard, own in self._sums().items():
            own.copy_(sums[shard.first : shard.last])

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

    def _weights(self) -> Mapping[Shard, Tensor]:
        """Rows `[own, D]` of each of this rank's shards, to be written to."""
        state = self._sharded.state_dict()
        return {shard: _local(state[_key(shard)], shard) for shard in self._own}

    def _sums(self) -> Mapping[Shard, Tensor]:
        """Their accumulators `[own]`, to be written to."""
        state = self._sharded.fused_optimizer.state_dict()["state"]
        return {shard: _local(next(iter(state[_key(shard)].values())), shard) for shard in self._own}

    @torch.no_grad()
    def _draw(self, std: float, seed: int) -> None:
        drawn, rows = -1, torch.empty(0)
        for shard, own in self._weights().items():
            for begin in range(shard.first // CHUNK * CHUNK, shard.last, CHUNK):
                if begin != drawn:
                    draws = torch.Generator().manual_seed(hash((seed, begin)) % 2**63)
                    drawn, rows = begin, std * torch.randn(CHUNK, self.dim, generator=draws)
                low, high = max(begin, shard.first), min(begin + CHUNK, shard.last)
                own[low - shard.first : high - shard.first] = rows[low - begin : high - begin]

    def _whole(self, own: Sequence[Tensor], width: int) -> Tensor | None:
        """`[rows, width]` on rank 0, from `own` of every rank."""
        shards = [
            [shard for shard in self.plan.shards if shard.rank == rank and shard.last > shard.first]
            for rank in range(dist.get_world_size())
        ]
        most = max(sum(shard.last - shard.first for shard in of_rank) for of_rank in shards)
        device = self._last_rows.device
        padded = torch.zeros(most, width, device=device)
        if own:
            joined = torch.cat(list(own))
            padded[: len(joined)] = joined
        received = [torch.empty_like(padded) for _ in shards] if dist.get_rank() == 0 else None
        dist.gather(padded, received)
        if received is None:
            return None
        whole = torch.empty(self.rows, width)
        for of_rank, rows in zip(shards, received, strict=True):
            ends = list(accumulate((shard.last - shard.first for shard in of_rank), initial=0))
            for shard, begin, end in zip(of_rank, ends, ends[1:], strict=False):
                whole[shard.first : shard.last] = rows[begin:end]
        return whole


def _key(shard: Shard) -> str:
    return f"embeddings.{shard.part.name}.weight"


def _local(sharded: Any, shard: Shard) -> Tensor:
    (local,) = sharded.local_shards()
    found: Tensor = local.tensor
    assert len(found) == shard.last - shard.first
    return found
