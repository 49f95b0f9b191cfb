"""What the report says about the inside of the model, and about what sharing did to each task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mtl_ray.evaluation.diagnostics.result import Cosines, Diagnostics, GateUse, Size
from mtl_ray.evaluation.differences import Difference
from mtl_ray.evaluation.transfer import Transfer
from mtl_ray.report.comparison import value_text
from mtl_ray.report.formatting import ABSENT, count, decimal, percent, plain
from mtl_ray.report.glossary import metric_info
from mtl_ray.report.heat import HeatCell, HeatTable, cosine_cell

_NOTES = {
    "shared layers": "what lies between the encoders and the tasks' own parts",
    "embedding tables": "tasks observed in different rows touch different ids",
    "encoded rows": "what the encoders hand to the structure",
}
_TRANSFER = {"better": ("helped", ""), "worse": ("harmed", "stop"), "not defined": ("not defined", "warn")}


@dataclass(frozen=True)
class TransferRow:
    """One metric of one task against its single-task twin."""

    task: str
    metric: str
    value: str
    twin: str
    difference: str
    interval: str
    verdict: str
    tag: str


@dataclass(frozen=True)
class TransferContent:
    """What sharing did to the tasks."""

    page: str
    split: str
    confidence: str
    rows: tuple[TransferRow, ...]


@dataclass(frozen=True)
class InsideContent:
    """The section on the model."""

    gates: tuple[HeatTable, ...]
    gate_rows: str
    split: str
    cosines: tuple[HeatTable, ...]
    conflicts: str
    batch_rows: str
    parts: tuple[tuple[str, str, str], ...]
    """Part of the model, parameters, share of all."""
    flops: str
    transfer: TransferContent | None


def inside_content(diagnostics: Diagnostics | None, transfer: Transfer | None) -> InsideContent | None:
    """The section, or None for a run that was neither evaluated nor compared."""
    shown = None if transfer is None else _transfer(transfer)
    if diagnostics is None:
        return None if shown is None else InsideContent((), "", "", (), "", "", (), "", shown)
    return InsideContent(
        gates=_gates(diagnostics.gates),
        gate_rows=count(diagnostics.gate_rows),
        split=diagnostics.split,
        cosines=tuple(_cosines(item) for item in diagnostics.cosines),
        conflicts=_conflicts(diagnostics.cosines),
        batch_rows=count(diagnostics.batch_rows),
        parts=_parts(diagnostics.size),
        flops=count(diagnostics.size.flops),
        transfer=shown,
    )


def _gates(gates: Sequence[GateUse]) -> tuple[HeatTable, ...]:
    """A table for each number of experts, as the gates of one level have the same."""
    sizes = dict.fromkeys(len(gate.mean) for gate in gates)
    tables = []
    for size in sizes:
        rows = [gate for gate in gates if len(gate.mean) == size]
        tables.append(
            HeatTable(
                title=f"Gates over {size} experts",
                note="mean weight; below it, the share of rows in which the expert weighs most",
                corner="Gate",
                columns=tuple(f"expert {number}" for number in range(1, size + 1)),
                rows=tuple(
                    (
                        gate.gate,
                        tuple(
                            HeatCell(decimal(mean, 2), percent(largest), "plus", round(100 * mean, 1))
                            for mean, largest in zip(gate.mean, gate.largest, strict=True)
                        ),
                    )
                    for gate in rows
                ),
            )
        )
    return tuple(tables)


def _cosines(item: Cosines) -> HeatTable:
    most = max(number for row in item.batches for number in row)
    return HeatTable(
        title=item.place.capitalize(),
        note=f"{_NOTES[item.place]}; mean over up to {most} batches",
        corner="Task",
        columns=item.tasks,
        rows=tuple(
            (task, tuple(_cosine(value, number, most, own == at) for at, (value, number) in enumerate(cells)))
            for own, (task, cells) in enumerate(
                (task, list(zip(values, numbers, strict=True)))
                for task, values, numbers in zip(item.tasks, item.cosine, item.batches, strict=True)
            )
        ),
    )


def _cosine(value: float | None, batches: int, most: int, diagonal: bool) -> HeatCell:
    return cosine_cell(value, diagonal=diagonal, note=None if batches == most else f"{batches} batches")


def _conflicts(cosines: Sequence[Cosines]) -> str:
    """The pair that disagrees most on the shared layers (or, without any, on the first place that there is)."""
    if not cosines:
        return ""
    place = cosines[0]
    pairs = [
        (value, place.tasks[one], place.tasks[other])
        for one, row in enumerate(place.cosine)
        for other, value in enumerate(row)
        if other > one and value is not None
    ]
    if not pairs:
        return ""
    value, one, other = min(pairs)
    if value >= 0:
        return f"No two tasks pull the {place.place} against each other on average."
    return f"{one} and {other} pull the {place.place} against each other most: cosine {decimal(value, 2)}."


def _parts(size: Size) -> tuple[tuple[str, str, str], ...]:
    parts = [("embedding tables", size.embeddings), ("rest of the encoders", size.encoder), ("shared", size.shared)]
    parts += [(f"{task} alone", number) for task, number in size.tasks.items()]
    total = max(size.parameters, 1)
    return (*((name, count(n), percent(n / total)) for name, n in parts), ("all", count(size.parameters), ""))


def _transfer(transfer: Transfer) -> TransferContent:
    return TransferContent(
        page=transfer.page,
        split=transfer.split,
        confidence=percent(transfer.confidence),
        rows=tuple(_transfer_row(item) for item in transfer.differences),
    )


def _transfer_row(item: Difference) -> TransferRow:
    verdict, tag = _TRANSFER.get(item.verdict, (item.verdict, ""))
    ends = ABSENT if item.low is None or item.high is None else f"{plain(item.low)} – {plain(item.high)}"
    return TransferRow(
        task=item.task,
        metric=metric_info(item.metric).title,
        value=value_text(item.metric, item.value),
        twin=value_text(item.metric, item.reference),
        difference=plain(item.difference),
        interval=ends,
        verdict=verdict,
        tag=tag,
    )
