"""From a feature service in a Feast registry to a `ServiceSpec`, refusing what the join could not do.

Works on Feast objects that it is given and imports none of Feast itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from mtl_ray.data.feast_views import DUMMY_KEY, source_path
from mtl_ray.data.field_tags import field_rules, sequence_name
from mtl_ray.data.sequences import check_sequence_tags
from mtl_ray.data.service_spec import Encoding, FeatureSpec, ServiceSpec, ViewSpec, default_encoding
from mtl_ray.data.source_files import is_remote, source_columns
from mtl_ray.data.spine import EVENT_TIMESTAMP, ROW_ID
from mtl_ray.errors import FeatureStoreError, nearest


@dataclass(frozen=True)
class ResolvedService:
    """A service's spec and the Feast objects behind it."""

    spec: ServiceSpec
    service: Any
    """`feast.FeatureService`."""
    objects: tuple[Any, ...]
    """Everything that the service is made of: service, views, entities, sources."""


def resolve_service(
    store: Any,
    service: Any,
    *,
    keys: Sequence[str],
    context: Mapping[str, Encoding],
    encodings: Mapping[str, Encoding],
) -> ResolvedService:
    """The spec of `service` (`feast.FeatureService`) in `store` (`feast.FeatureStore`).

    Raises `FeatureStoreError` naming a view, source, column, key or feature name that cannot be used.
    """
    views: dict[str, ViewSpec] = {}
    join_keys: dict[str, str] = {}
    request: dict[str, None] = {}
    features: list[FeatureSpec] = []
    objects: list[Any] = [service]

    def add_view(view: Any, projection: Any) -> None:
        name = projection.name_to_use()
        _check_features(view, projection.features)
        if name not in views:
            views[name] = _view_spec(view, projection, store)
            objects.extend([view, view.batch_source])
            objects.extend(_entities(store, view))
        _check_source_columns(view, views[name], [field.name for field in projection.features])
        dtypes = {field.name: str(field.dtype) for field in view.entity_columns if field.name != DUMMY_KEY}
        for own, column in views[name].join_keys.items():
            if join_keys.setdefault(column, dtypes[own]) != dtypes[own]:
                raise FeatureStoreError(
                    f"The join key {column!r} has two types.",
                    where=f"feature view {view.name}",
                    found=f"{dtypes[own]} here, {join_keys[column]} in another view of the service",
                    fix="give the entities of one join key one value_type",
                )

    for projection in service.feature_view_projections:
        view = _view(store, projection.name, f"feature service {service.name}")
        on_demand = hasattr(view, "source_feature_view_projections")
        if on_demand:
            objects.append(view)
            request.update(dict.fromkeys(view.get_request_data_schema()))
            for source in view.source_feature_view_projections.values():
                add_view(_view(store, source.name, f"on-demand feature view {view.name}"), source)
        else:
            add_view(view, projection)
        for field in projection.features:
            features.append(_feature(field, view.name, on_demand, encodings))

    for key in keys:
        if key not in join_keys:
            raise FeatureStoreError(
                f"The key {key!r} is no join key of the service's views.",
                where="features.keys",
                found=key,
                allowed=", ".join(join_keys),
                fix="correct the name, or add the column to features.context",
            )
    inputs = [
        *(
            FeatureSpec(name=key, source="key", dtype=join_keys[key], encoding="categorical", vocabulary=key)
            for key in keys
        ),
        *features,
        *(
            FeatureSpec(
                name=name,
                source="context",
                encoding=encoding,
                vocabulary=name if encoding == "categorical" else None,
            )
            for name, encoding in context.items()
        ),
    ]
    check_sequence_tags(inputs)
    _check_names(inputs, join_keys, request, encodings, is_ours(str(store.config.offline_store.type)))
    spec = ServiceSpec(
        project=store.project,
        service=service.name,
        features=tuple(inputs),
        join_keys=join_keys,
        views=tuple(views.values()),
        request_columns=tuple(request),
    )
    return ResolvedService(spec, service, tuple(objects))


def _view(store: Any, name: str, where: str) -> Any:
    known = {
        view.name: view
        for view in [
            *store.list_feature_views(),
            *store.list_stream_feature_views(),
            *store.list_on_demand_feature_views(),
        ]
    }
    if name not in known:
        guess = nearest(name, known)
        raise FeatureStoreError(
            f"The feature view {name!r} is not in the registry.",
            where=where,
            found=f"views {', '.join(sorted(known)) or '(none)'}",
            fix=(f"did you mean {guess!r}? " if guess else "") + "define the view and run `feast apply`",
        )
    return known[name]


def _view_spec(view: Any, projection: Any, store: Any) -> ViewSpec:
    source = view.batch_source
    own_keys = [field.name for field in view.entity_columns if field.name != DUMMY_KEY]
    aliases = projection.join_key_map
    ttl = view.ttl.total_seconds() if view.ttl else 0.0
    return ViewSpec(
        name=projection.name_to_use(),
        join_keys={key: aliases.get(key, key) for key in own_keys},
        ttl_seconds=ttl or None,
        source=source.name,
        path=_path(view, store),
        in_warehouse=not hasattr(source, "path"),
        timestamp_field=source.timestamp_field,
        created_timestamp_column=source.created_timestamp_column or None,
    )


def _path(view: Any, store: Any) -> str:
    """Where the view's rows lie: the path of its Parquet files, or the name of a table in a warehouse."""
    source = view.batch_source
    kind = str(store.config.offline_store.type)
    if source is None or (getattr(source, "path", None) is None and (is_ours(kind) or kind == "duckdb")):
        return source_path(view, store.repo_path)  # says what is wrong
    if getattr(source, "path", None) is None:
        return str(source.get_table_query_string())
    if is_ours(kind):
        return source_path(view, store.repo_path)
    path = str(source.path)
    if not is_remote(path) and not Path(path.removeprefix("file://")).is_absolute():
        raise FeatureStoreError(
            f"The source {source.name!r} of feature view {view.name!r} has a relative path.",
            where=path,
            allowed="an absolute path: Feast's duckdb store would look for it in the working directory",
            fix="compute the path from __file__ in the repo, then run `feast apply`",
        )
    return path


def is_ours(offline_store: str) -> bool:
    """Whether a repo's `offline_store.type` is this package's."""
    return offline_store.endswith(".PointInTimeOfflineStore")


def _entities(store: Any, view: Any) -> list[Any]:
    """The entities of `view`, without the one that Feast keeps for views that have none."""
    by_name = {entity.name: entity for entity in store.list_entities()}
    return [by_name[name] for name in view.entities if name in by_name]


def _check_features(view: Any, fields: Sequence[Any]) -> None:
    known = [field.name for field in view.features]
    for field in fields:
        if field.name not in known:
            guess = nearest(field.name, known)
            raise FeatureStoreError(
                f"The feature view {view.name!r} has no feature {field.name!r}.",
                where=f"feature view {view.name}",
                found=f"features {', '.join(known)}",
                fix=(f"did you mean {guess!r}? " if guess else "") + "correct the service and run `feast apply`",
            )


def _check_source_columns(view: Any, spec: ViewSpec, features: list[str]) -> None:
    if not hasattr(view.batch_source, "path"):
        return  # a table of a warehouse, which `feast apply` has looked at
    try:
        columns = source_columns(spec.path)
    except (OSError, pa.ArrowInvalid) as error:
        raise FeatureStoreError(
            f"The source {spec.source!r} of feature view {view.name!r} cannot be read.",
            where=spec.path,
            found=f"{type(error).__name__}: {str(error).splitlines()[0]}",
            fix="write the source's Parquet file, or correct its path in the repo and run `feast apply`",
        ) from error
    mapping = view.batch_source.field_mapping
    columns = [mapping.get(column, column) for column in columns]
    created = [spec.created_timestamp_column] if spec.created_timestamp_column else []
    for column in [*spec.join_keys, spec.timestamp_field, *created, *features]:
        if column not in columns:
            guess = nearest(column, columns)
            raise FeatureStoreError(
                f"The source {spec.source!r} of feature view {view.name!r} has no column {column!r}.",
                where=spec.path,
                found=f"columns {', '.join(columns)}",
                fix=f"did you mean {guess!r}?" if guess else "write the column, or correct the view",
            )


def _feature(field: Any, view: str, on_demand: bool, encodings: Mapping[str, Encoding]) -> FeatureSpec:
    dtype = str(field.dtype)
    chosen = encodings.get(field.name) or field.tags.get("encoding") or default_encoding(dtype)
    allowed = _allowed_encodings(dtype)
    if chosen not in allowed:
        raise FeatureStoreError(
            f"The feature {field.name!r} cannot be encoded.",
            where=f"feature view {view}, field {field.name} of type {dtype}",
            found=f"encoding {chosen}" if chosen else "no encoding for this type",
            allowed=", ".join(allowed)
            or "String, Bool, Int32, Int64, Float32, Float64, or an Array of ids, floats or UnixTimestamp",
            fix="correct the tag `encoding` of the field (or features.encodings)"
            if allowed
            else "derive a number or an id from it, for example in an on-demand view, or leave it out",
        )
    where = f"feature view {view}, field {field.name}"
    vocabulary = field.tags.get("vocabulary", field.name) if chosen in ("categorical", "list") else None
    rules = field_rules(field.tags, dtype, where)
    return FeatureSpec(
        name=field.name,
        source="on_demand" if on_demand else "view",
        view=view,
        dtype=dtype,
        encoding=chosen,
        vocabulary=vocabulary,
        sequence=sequence_name(field.tags, chosen, where),
        minimum=rules.minimum,
        maximum=rules.maximum,
        required=rules.required,
    )


def _allowed_encodings(dtype: str) -> tuple[str, ...]:
    default = default_encoding(dtype)
    if default is None:
        return ()
    if default in ("list", "vector", "times"):
        return ("list", "times") if dtype == "Array(Int64)" else (default,)
    if dtype in ("String", "Uuid"):
        return ("categorical",)
    return ("categorical", "numeric")


def _check_names(
    features: Sequence[FeatureSpec],
    join_keys: Mapping[str, str],
    request: Iterable[str],
    encodings: Mapping[str, Encoding],
    ours: bool,
) -> None:
    taken = {EVENT_TIMESTAMP, ROW_ID, *join_keys}
    retrieved = [feature for feature in features if feature.source in ("view", "on_demand")]
    for feature in retrieved:
        problem = None
        if feature.name.endswith("_y") and not ours:
            problem = "ends in _y, which Feast's duckdb store drops"
        elif feature.name in taken or feature.name in request:
            problem = "is also the name of a column that the join needs"
        if problem:
            raise FeatureStoreError(
                f"The feature name {feature.name!r} {problem}.",
                where=f"feature view {feature.view}",
                fix="rename the field (a FileSource's field_mapping can do it)",
            )
    names = [feature.name for feature in features]
    for name in names:
        if names.count(name) > 1:
            places = [feature.view or f"features.{feature.source}" for feature in features if feature.name == name]
            raise FeatureStoreError(
                f"The feature name {name!r} occurs more than once.",
                where=f"in {', '.join(places)}",
                allowed="names that are unique over the service, the keys and the context columns",
                fix="rename one of them, or leave it out of the service",
            )
    for name in encodings:
        if name not in {feature.name for feature in retrieved}:
            guess = nearest(name, [feature.name for feature in retrieved])
            raise FeatureStoreError(
                f"features.encodings names {name!r}, which is no feature of the service.",
                where="features.encodings",
                allowed=", ".join(feature.name for feature in retrieved),
                fix=f"did you mean {guess!r}?" if guess else None,
            )
