"""What the report says about the training set, from the snapshot's manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtl_ray.report.formatting import ABSENT, count, moment, number, percent, plain

PARTS = ("train", "validation", "test")
MOST_CLASSES = 6


@dataclass(frozen=True)
class Part:
    """One part of the training set."""

    name: str
    rows: str
    share: float
    """Of all rows, 0 to 1."""
    begin: str
    end: str


@dataclass(frozen=True)
class LabelRow:
    """One task's label in each part."""

    task: str
    cells: tuple[tuple[str, str], ...]
    """Observed rows and their mean (or shares of classes), by part."""


@dataclass(frozen=True)
class FeatureRow:
    """One input of the model."""

    name: str
    encoding: str
    origin: str
    vocabulary: str
    size: str
    missing: float | None
    missing_text: str
    cut: tuple[str, str] | None
    """Rows of a list that were cut, with their share where it is known, and how many entries are kept."""


@dataclass(frozen=True)
class DataContent:
    """The training set as the report shows it."""

    facts: tuple[tuple[str, str], ...]
    parts: tuple[Part, ...]
    label_parts: tuple[str, ...]
    labels: tuple[LabelRow, ...]
    features: tuple[FeatureRow, ...]


def data_content(manifest: Mapping[str, Any], config: Mapping[str, Any]) -> DataContent:
    """The training set that `manifest` describes; what it does not hold is left out."""
    labels, label_parts = _labels(manifest, _mapping(config, "tasks"))
    return DataContent(
        facts=_facts(manifest, config),
        parts=_parts(manifest),
        label_parts=label_parts,
        labels=labels,
        features=_features(manifest),
    )


def _mapping(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = document.get(key)
    return found if isinstance(found, Mapping) else {}


def _facts(manifest: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    service = _mapping(manifest, "service").get("service") or _mapping(config, "features").get("service")
    facts = [
        ("feature service", service),
        ("registry", _short(manifest.get("registry_hash"))),
        ("training set", _short(manifest.get("id"))),
        ("spine", _mapping(manifest, "spine").get("path")),
        ("split by", _split(_mapping(manifest, "split"))),
        ("built", moment(manifest["created"]) if manifest.get("created") else None),
    ]
    return tuple((label, str(value)) for label, value in facts if value)


def _split(split: Mapping[str, Any]) -> str | None:
    """The kind of split with what it keeps together or apart."""
    kind = split.get("by")
    if kind == "k_fold":
        kind = f"fold {split.get('fold')} of {split.get('folds')}"
    column = split.get("column")
    return f"{kind}, {column}" if kind and column else kind


def _short(identity: Any) -> str | None:
    """The first digits of a hash: enough to tell two apart."""
    return None if identity is None else str(identity)[:12]


def _parts(manifest: Mapping[str, Any]) -> tuple[Part, ...]:
    rows = {part: number(_mapping(manifest, "rows").get(part)) or 0.0 for part in PARTS}
    total = sum(rows.values())
    if not total:
        return ()
    times = _mapping(manifest, "boundaries")
    marks = [moment(times.get(key)) for key in ("first", "validation_from", "test_from", "last")]
    if times.get("first") and times.get("validation_from") is None:
        # Not split by time: every part spans it all.
        return tuple(Part(part, count(rows[part]), rows[part] / total, marks[0], marks[-1]) for part in PARTS)
    return tuple(
        Part(part, count(rows[part]), rows[part] / total, marks[at], marks[at + 1]) for at, part in enumerate(PARTS)
    )


def _labels(manifest: Mapping[str, Any], tasks: Mapping[str, Any]) -> tuple[tuple[LabelRow, ...], tuple[str, ...]]:
    rates = _mapping(manifest, "label_rates")
    statistics = _mapping(manifest, "label_statistics")
    parts = tuple(part for part in PARTS if part in rates)
    rows = []
    for task, found in statistics.items():
        kind = _mapping(tasks, task).get("type")
        cells = [_label_cells(kind, _mapping(_mapping(rates, part), task)) for part in parts]
        classes: Sequence[float] = found.get("class_counts") or ()
        if cells and parts[0] == "train" and sum(classes):
            # Shares of classes are known of the training part alone.
            cells[0] = cells[0][0], " · ".join(percent(rows_of / sum(classes)) for rows_of in classes[:MOST_CLASSES])
        rows.append(LabelRow(task, tuple(cells)))
    return tuple(rows), parts


def _label_cells(kind: object, rate: Mapping[str, Any]) -> tuple[str, str]:
    mean = number(rate.get("mean"))
    return count(rate.get("observed")), percent(mean, 1) if kind in ("binary", "next_item") else plain(mean)


def _features(manifest: Mapping[str, Any]) -> tuple[FeatureRow, ...]:
    sizes = _mapping(_mapping(manifest, "schema"), "vocabularies")
    cuts = _cuts(manifest)
    missing = _mapping(manifest, "missing")
    rows = []
    for feature in _mapping(manifest, "service").get("features") or ():
        name, vocabulary = str(feature.get("name")), feature.get("vocabulary")
        share = number(missing.get(name))
        rows.append(
            FeatureRow(
                name=name,
                encoding=str(feature.get("encoding")),
                origin=str(feature.get("view") or feature.get("source") or ABSENT),
                vocabulary=str(vocabulary) if vocabulary not in (None, name) else "",
                size=count(sizes.get(vocabulary or name)) if feature.get("encoding") in ("categorical", "list") else "",
                missing=share,
                missing_text=percent(share, 1),
                cut=cuts.get(name),
            )
        )
    return tuple(rows)


def _cuts(manifest: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    preprocessing = _mapping(manifest, "preprocessing")
    kept = {feature.get("name"): feature.get("max_length") for feature in preprocessing.get("lists") or ()}
    # An appended training set has more rows than its preprocessing was fitted to, whose number is not recorded.
    rows = None if manifest.get("appended") else number(_mapping(manifest, "rows_before_sampling").get("train"))
    found = {}
    for name, cut in _mapping(preprocessing, "truncated").items():
        if cut:
            share = f" ({percent(cut / rows, 1)})" if rows else ""
            found[name] = f"{count(cut)}{share}", f"newest {count(kept[name])} kept" if name in kept else ""
    return found
