"""What is wrong with the spine's own rows, found before anything is joined."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from mtl_ray.data.contract.config import ContractConfig
from mtl_ray.data.contract.row_rules import broken_rows
from mtl_ray.data.join.parquet_rows import chunk_ranges
from mtl_ray.data.service_spec import ServiceSpec
from mtl_ray.data.spine import ROW_ID, SCAN_ROWS, Spine
from mtl_ray.errors import DataError
from mtl_ray.tasks import TaskConfig

_MOST_REASONS = 5


def check_spine(
    spine: Spine,
    spec: ServiceSpec,
    tasks: Mapping[str, TaskConfig],
    config: ContractConfig,
    group_by: str | None = None,
) -> None:
    """Raise `DataError` where so many rows break the contract by themselves that the run would be stopped anyway.

    Keys, times, labels and context columns are looked at. Fewer broken rows are left for the contract's own verdict.
    Also where a row has no group key (`group_by`), for then no metric could be computed. Reads the spine once.
    """
    groupless = 0
    own = spec.model_copy(update={"features": tuple(item for item in spec.features if item.source in _OWN)})
    broken = 0
    reasons: dict[str, int] = {}
    admitted: dict[str, str] = {}
    example: int | None = None
    for begin, end in chunk_ranges(spine.num_rows, SCAN_ROWS):
        table = spine.read(begin, end, (*spine.columns, ROW_ID))
        verdict = broken_rows(table, own, tasks, config)
        if verdict.broken:
            example = begin + int((~verdict.ok).argmax()) if example is None else example
            for name, task in tasks.items():
                column = task.label_column(name)
                allowed = None if name in admitted else _admitted(task, table[column], column)
                if allowed is not None:
                    admitted[name] = allowed
        broken += verdict.broken
        if group_by is not None and group_by not in spec.join_keys:  # a row without a join key is broken anyway
            groupless += table[group_by].null_count
        for reason, rows in verdict.quarantined.items():
            reasons[reason] = reasons.get(reason, 0) + rows
    if groupless:
        raise DataError(
            f"The group key (evaluation.group_by) {group_by!r} is null in {groupless} of {spine.num_rows} rows.",
            where=f"spine column {group_by}",
            allowed="a value in every row",
            fix="leave these rows out of the spine, fill in the value, or group by another column",
        )
    if not broken or (broken <= config.max_quarantined * spine.num_rows and config.broken_rows != "stop"):
        return
    most = sorted(reasons.items(), key=lambda item: -item[1])[:_MOST_REASONS]
    limit = "none" if config.broken_rows == "stop" else f"at most {config.max_quarantined:.1%} of the rows"
    raise DataError(
        f"{broken:,} of {spine.num_rows:,} spine rows cannot be used.",
        where=f"training_set.spine, the first in row {example}",
        found="; ".join(f"{reason}: {rows:,} rows" for reason, rows in most),
        allowed="; ".join([limit, *admitted.values()]),
        fix="correct the spine or the tasks' types; training_set.contract.max_quarantined admits more broken rows",
    )


_OWN = ("key", "context")


def _admitted(task: TaskConfig, values: pa.ChunkedArray, column: str) -> str | None:
    """What the task says that it admits, when it is given labels that it refuses."""
    try:
        task.encode_labels(values, column)
    except DataError as refusal:
        return f"{column}: {refusal.allowed} (found {refusal.found})"
    return None
