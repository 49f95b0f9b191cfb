"""On-demand features, computed on each joined bucket by Feast's own code."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.errors import FeatureStoreError


@dataclass(frozen=True)
class OnDemandFeatures:
    """Appends the requested features of on-demand views to a joined table; picklable.

    The functions see one bucket of rows at a time, so they must work row by row, as they do online.
    """

    views: tuple[Any, ...]
    """`feast.OnDemandFeatureView`, in the order in which they are computed."""
    wanted: tuple[frozenset[str] | None, ...]
    """For each view the columns to keep; None: all."""
    full_feature_names: bool = False
    keep: tuple[str, ...] | None = None
    """Columns of the result, in order; None: everything."""

    def __call__(self, table: pa.Table) -> pa.Table:
        """`table` with the features as new columns, in the order of the views. Raises `FeatureStoreError`."""
        for view, wanted in zip(self.views, self.wanted, strict=True):
            try:
                features = view.transform_arrow(table, self.full_feature_names)
            except Exception as error:  # whatever the user's function raises
                raise FeatureStoreError(
                    f"The on-demand feature view {view.name!r} failed.",
                    where=f"function of on-demand feature view {view.name}",
                    found=f"{type(error).__name__}: {error}",
                    fix="its function may use only its argument and what it imports itself, because Feast rebuilds "
                    "it from its source text",
                ) from error
            types = _declared_types(view, self.full_feature_names)
            for name in features.column_names:
                if not name.startswith("__index") and (wanted is None or name in wanted):
                    table = table.append_column(name, _as_declared(features[name], types.get(name), view.name, name))
        return table if self.keep is None else table.select(list(self.keep))

    @property
    def identity(self) -> str:
        """Equal for equal definitions: what Feast stores of the views, without the times of their application."""
        specs = [view.to_proto().spec.SerializeToString(deterministic=True).hex() for view in self.views]
        return repr((specs, [wanted and sorted(wanted) for wanted in self.wanted], self.full_feature_names, self.keep))


def requested(views: Sequence[Any], refs: Sequence[str], full_feature_names: bool) -> OnDemandFeatures:
    """The features of on-demand `views` that `refs` (`view:feature`) ask for. Raises `FeatureStoreError`."""
    wanted = []
    for view in views:
        if view.mode == "substrait":
            raise FeatureStoreError(
                f"The on-demand feature view {view.name!r} has mode substrait.",
                where=f"on-demand feature view {view.name}",
                allowed="pandas or python",
                fix="write the function in pandas mode",
            )
        names = {view.name, view.projection.name_to_use()}
        chosen = [ref.split(":", 1)[1] for ref in refs if ":" in ref and ref.split(":", 1)[0].split("@")[0] in names]
        prefix = f"{view.projection.name_to_use()}__" if full_feature_names else ""
        wanted.append(frozenset(prefix + name for name in chosen) if chosen else None)
    return OnDemandFeatures(tuple(views), tuple(wanted), full_feature_names)


def _declared_types(view: Any, full_feature_names: bool) -> dict[str, pa.DataType]:
    from feast.types import from_feast_to_pyarrow_type

    prefix = f"{view.projection.name_to_use()}__" if full_feature_names else ""
    types = {}
    for field in view.features:
        with suppress(ValueError):  # a type that Feast itself has no Arrow type for
            types[prefix + field.name] = from_feast_to_pyarrow_type(field.dtype)
    return types


def _as_declared(values: pa.ChunkedArray, wanted: pa.DataType | None, view: str, name: str) -> pa.ChunkedArray:
    """`values` in the declared type: what a function returns depends on the rows (gaps, or nothing but gaps)."""
    if wanted is None or values.type == wanted:
        return values
    if pa.types.is_floating(values.type) and not pa.types.is_floating(wanted):
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    try:
        return values.cast(wanted, safe=not (pa.types.is_floating(wanted) or pa.types.is_timestamp(wanted)))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise FeatureStoreError(
            f"The on-demand feature {name!r} does not come in its declared type.",
            where=f"function of on-demand feature view {view}",
            found=f"{values.type}: {str(error).splitlines()[0]}",
            allowed=str(wanted),
            fix="correct the function, or the type in the view's schema",
        ) from error
