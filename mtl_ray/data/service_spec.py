"""What a feature service offers to a model, in types of our own: nothing here needs Feast."""

from __future__ import annotations

from typing import Literal

from mtl_ray.schema import Settings

Encoding = Literal["categorical", "numeric", "list", "vector", "times"]
"""How a raw column enters the model: an id of a vocabulary, a number, a list of ids, a precomputed vector, or the times
of a sequence's entries."""

FeatureSource = Literal["view", "on_demand", "key", "context"]
"""Where a column comes from: a feature view, an on-demand view, a join key, or a context column of the spine."""


class FeatureSpec(Settings):
    """One input column of the model."""

    name: str
    source: FeatureSource
    view: str | None = None
    """Feature view or on-demand view; None for join keys and context columns."""
    dtype: str | None = None
    """Feast's name of the type, such as `Int64` or `Array(Int64)`; None for context columns, which Feast does
    not know."""
    encoding: Encoding
    vocabulary: str | None = None
    """Features that name the same vocabulary share an embedding table; None for numbers, vectors and times."""
    sequence: str | None = None
    """Lists and times that name the same sequence hold one history, entry by entry; None: a list by itself."""
    minimum: float | None = None
    """Smallest value that the field's tag `min` allows; None: no limit."""
    maximum: float | None = None
    required: bool = False
    """Whether the field's tag `required` says that a row without a value breaks the contract."""


class ViewSpec(Settings):
    """One feature view that the service reads, directly or through an on-demand view."""

    name: str
    join_keys: dict[str, str]
    """Column of the source -> column of the spine; they differ where the service aliases an entity."""
    ttl_seconds: float | None
    """A feature row older than this is missing (exactly this old is kept); None: it holds for ever."""
    source: str
    """Name of the data source."""
    path: str
    """Where the source's Parquet files lie, or the name of a warehouse's table."""
    timestamp_field: str
    created_timestamp_column: str | None
    in_warehouse: bool = False
    """Whether the rows are a table of a database rather than files."""


class ServiceSpec(Settings):
    """A feature service as the model sees it: input columns in order, and what the join needs."""

    project: str
    service: str
    features: tuple[FeatureSpec, ...]
    """Join keys of the config first, then the service's features in its order, then the context columns."""
    join_keys: dict[str, str]
    """Spine column -> Feast's name of its type (`Int64` or `String`), of all views that the service reads."""
    views: tuple[ViewSpec, ...]
    request_columns: tuple[str, ...] = ()
    """Columns that on-demand views read from the request, so the spine must carry them."""

    @property
    def retrieved(self) -> tuple[FeatureSpec, ...]:
        """The features that the point-in-time join returns."""
        return tuple(feature for feature in self.features if feature.source in ("view", "on_demand"))

    @property
    def context(self) -> tuple[str, ...]:
        """Spine columns other than join keys that the model or an on-demand view reads, each once."""
        own = [feature.name for feature in self.features if feature.source == "context"]
        return tuple(dict.fromkeys([*own, *self.request_columns]))


def default_encoding(dtype: str) -> Encoding | None:
    """The encoding of a Feast type where the field has no `encoding` tag; None: the type needs a tag or another form.

    Text and truth values are categories, numbers are numbers, arrays of integers or text are lists of ids, arrays of
    floats are vectors, arrays of times are times.
    """
    if dtype in ("String", "Bool", "Uuid"):
        return "categorical"
    if dtype in ("Int32", "Int64", "Float32", "Float64"):
        return "numeric"
    if dtype in ("Array(Int32)", "Array(Int64)", "Array(String)"):
        return "list"
    if dtype in ("Array(Float32)", "Array(Float64)"):
        return "vector"
    if dtype == "Array(UnixTimestamp)":
        return "times"
    return None
