"""The shapes that everything above agrees on: which features and tasks a training set has, in which column order."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

MISSING_ID = 0
"""Categorical id of a missing value; also the padding of list features."""

UNKNOWN_ID = 1
"""Categorical id of a value that the training part did not show often enough (out of vocabulary)."""

FIRST_KNOWN_ID = 2


class Settings(BaseModel):
    """Base of every config leaf and stored document: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class CategoricalFeature(Settings):
    """One column of `Batch.categorical`."""

    name: str
    vocabulary: str
    """Key into `BatchSchema.vocabularies`; features that name the same vocabulary share an embedding table."""


class ListFeature(Settings):
    """One tensor of `Batch.lists`: ids `[B, max_length]`, newest last, padded in front with MISSING_ID."""

    name: str
    vocabulary: str
    max_length: int
    sequence: str | None = None
    """Lists and ages that name the same sequence are columns of one history: entry by entry they belong together."""


class AgeFeature(Settings):
    """One tensor of `Batch.ages`: how long before the row's event_timestamp each entry of a sequence happened."""

    name: str
    sequence: str
    max_length: int
    """That of the sequence's lists."""


class VectorFeature(Settings):
    """One tensor of `Batch.vectors`: a precomputed vector, such as an embedding of a text or an image."""

    name: str
    size: int


class BatchSchema(Settings):
    """Names and order of the columns of a `Batch`."""

    vocabularies: dict[str, int]
    """Vocabulary name -> number of ids, the missing and the unknown id included."""
    categorical: tuple[CategoricalFeature, ...] = ()
    numeric: tuple[str, ...] = ()
    numeric_quantiles: tuple[tuple[float, ...], ...] = ()
    """Of each column of `numeric`: values of the training part at equally spaced ranks from 0 to 1, rising (equal ones
    stay), as the batch has them, transformed; what buckets are cut from."""
    lists: tuple[ListFeature, ...] = ()
    ages: tuple[AgeFeature, ...] = ()
    vectors: tuple[VectorFeature, ...] = ()
    task_inputs: tuple[str, ...] = ()
    """Columns that tasks read beside their labels (a duration, a weight): see `Batch.task_inputs`. No model input."""
    tasks: tuple[str, ...]


class DurationGroups(Settings):
    """Quantiles of a label within groups of rows whose durations are alike, over the training part."""

    edges: tuple[float, ...]
    """float32 numbers, strictly rising: group g has the durations from edge g - 1, included, to edge g, excluded."""
    quantiles: tuple[tuple[float, ...], ...]
    """Of each group, and last of all rows: labels at equally spaced ranks from 0 to 1."""


class LabelStatistics(Settings):
    """One task's label over the observed rows of the training part, as it was before any sampling."""

    observed: int
    """Number of rows with a label."""
    mean: float | None = None
    """Mean of the raw label: the base rate of a binary task; None without any observed row or for classes."""
    transformed_mean: float | None = None
    """Regression: mean of the label after the task's transform (log1p or none)."""
    transformed_std: float | None = None
    """Regression: standard deviation (divisor n) of the label after the task's transform."""
    quantiles: tuple[float, ...] | None = None
    """Regression: raw labels at 101 equally spaced ranks from 0 to 1."""
    mean_input: float | None = None
    """Regression with an offset: mean of exp(offset), to 0.6 %."""
    positive: int | None = None
    """Value: rows with a label above 0."""
    log_mean: float | None = None
    """Value: mean of the logarithm of the labels above 0."""
    log_std: float | None = None
    """Value: standard deviation (divisor n) of the logarithm of the labels above 0."""
    duration_groups: DurationGroups | None = None
    """Watch time: labels by group of equal durations."""
    class_counts: tuple[int, ...] | None = None
    """Multiclass and ordinal: rows per class, in class order."""
    negative_keep: float = Field(default=1.0, gt=0.0, le=1.0)
    """Binary: share of the rows with label 0 that were left to train on."""
    positive_repeat: float = Field(default=1.0, ge=1.0)
    """Binary: how often a row with label 1 is trained on, on average."""
