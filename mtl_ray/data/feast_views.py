"""From Feast's objects to what the point-in-time join needs. Imports none of Feast itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from mtl_ray.data.join.views import JoinView
from mtl_ray.data.source_files import is_remote
from mtl_ray.errors import FeatureStoreError

DUMMY_KEY = "__dummy_id"
"""Join key that Feast gives to a view without entities."""


def join_view(
    view: Any,
    features: Sequence[str],
    repo_path: Path | str | None,
    *,
    full_feature_names: bool = False,
    known_only: bool = False,
    feature_timestamp: str | None = None,
) -> JoinView:
    """A `feast.FeatureView`, projection applied, as a `JoinView` that returns `features` (names of its fields).

    Raises `FeatureStoreError` where the view's source is no Parquet file.
    """
    source = view.batch_source
    path = source_path(view, repo_path)
    if not source.timestamp_field:
        raise FeatureStoreError(
            f"The source {source.name!r} of feature view {view.name!r} has no timestamp field.",
            where=f"source of feature view {view.name}",
            fix="name the column of the event times: FileSource(timestamp_field=...), then run `feast apply`",
        )
    physical = {name: column for column, name in source.field_mapping.items()}
    aliases = view.projection.join_key_map or {}
    own_keys = [field.name for field in view.entity_columns if field.name != DUMMY_KEY]
    prefix = f"{view.projection.name_alias or view.projection.name}__" if full_feature_names else ""
    ttl = round(view.ttl.total_seconds() * 1_000_000) if view.ttl else 0
    created = source.created_timestamp_column
    return JoinView(
        name=view.projection.name_to_use(),
        path=path,
        keys=tuple((physical.get(key, key), aliases.get(key, key)) for key in own_keys),
        timestamp_field=physical.get(source.timestamp_field, source.timestamp_field),
        created=physical.get(created, created) if created else None,
        ttl=ttl or None,
        columns=tuple((physical.get(name, name), prefix + name) for name in features),
        known_only=known_only,
        feature_timestamp=feature_timestamp,
    )


def source_path(view: Any, repo_path: Path | str | None) -> str:
    """Where the Parquet files of the view's batch source lie: an absolute path, or a URI that PyArrow opens.

    A relative path counts from the Feast repo, as Feast has it. Raises `FeatureStoreError` for another kind of source.
    """
    source = view.batch_source
    path = getattr(source, "path", None)
    file_format = type(getattr(source, "file_format", None)).__name__
    if source is None or path is None or file_format not in ("NoneType", "ParquetFormat"):
        raise FeatureStoreError(
            f"The feature view {view.name!r} does not read Parquet files.",
            where=f"source of feature view {view.name}",
            found=type(source).__name__ + ("" if file_format == "NoneType" else f" in {file_format}"),
            allowed="FileSource in Parquet",
        )
    if is_remote(path):
        endpoint = getattr(source, "s3_endpoint_override", None)
        if not endpoint or "?" in path:
            return str(path)
        scheme, _, host = endpoint.rpartition("://")
        return f"{path}?{urlencode({'endpoint_override': host, **({'scheme': scheme} if scheme else {})})}"
    local = Path(str(path).removeprefix("file://"))
    return str(local if local.is_absolute() or repo_path is None else (Path(repo_path) / local).absolute())
