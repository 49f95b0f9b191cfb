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


class BatchSchema(Settings):
    """Names and order of the columns of a `Batch`."""

    vocabularies: dict[str, int]
    """Vocabulary name -> number of ids, the missing and the unknown id included."""
    categorical: tuple[CategoricalFeature, ...] = ()
    numeric: tuple[str, ...] = ()
    lists: tuple[ListFeature, ...] = ()
    tasks: tuple[str, ...]


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
    class_counts: tuple[int, ...] | None = None
    """Multiclass: rows per class, in class order."""
    negative_keep: float = Field(default=1.0, gt=0.0, le=1.0)
    """Binary: share of the rows with label 0 that were left to train on."""
    positive_repeat: float = Field(default=1.0, ge=1.0)
    """Binary: how often a row with label 1 is trained on, on average."""
