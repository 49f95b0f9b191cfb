"""What a Feast repo that cannot be used is told, and what decides a registry's hash."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtl_ray.data import feature_store
from mtl_ray.data.feature_store import OURS, FeatureRepo, FeaturesConfig
from mtl_ray.data.registry_hash import canonical
from mtl_ray.data.service_spec import ServiceSpec
from mtl_ray.errors import DataError, FeatureStoreError
from tests.tiny_shop import SETTINGS, TIMESTAMP, apply_repo, at, definitions, write_sources


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_sources(folder)
    return folder


@pytest.fixture(scope="module")
def repo(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repo")
    apply_repo(folder, definitions(data))
    return folder


def opened(folder: Path, **changes: Any) -> FeatureRepo:
    return FeatureRepo(FeaturesConfig.model_validate({"repo": str(folder), "service": "tiny_v1", **changes}))


def refused(folder: Path, **changes: Any) -> str:
    with pytest.raises(FeatureStoreError) as caught:
        opened(folder, **changes)
    return str(caught.value)


def custom_repo(folder: Path, data: Path, fields: Sequence[Any], ttl: timedelta = timedelta(0)) -> Path:
    """A repo whose service `tiny_v1` is one view of `fields` over users.parquet."""
    from feast import Entity, FeatureService, FeatureView, FileSource
    from feast.value_type import ValueType

    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
    source = FileSource(name="users", path=str(data / "users.parquet"), timestamp_field="event_timestamp")
    view = FeatureView(name="user_profile", entities=[user], ttl=ttl, schema=list(fields), source=source)
    apply_repo(folder, [user, view, FeatureService(name="tiny_v1", features=[view])])
    return folder


def test_spec_of_a_service(repo: Path, data: Path) -> None:
    spec = opened(repo, keys=["item_id"], context={"hour": "categorical"}, encodings={"age": "categorical"}).spec
    found = [(item.name, item.source, item.encoding, item.vocabulary) for item in spec.features]
    assert found == [
        ("item_id", "key", "categorical", "item_id"),
        ("age", "view", "categorical", "age"),
        ("city", "view", "categorical", "city"),
        ("recent", "view", "list", "item_id"),
        ("price", "view", "numeric", None),
        ("evening_price", "on_demand", "numeric", None),
        ("hour", "context", "categorical", "hour"),
    ]
    assert spec.join_keys == {"user_id": "Int64", "item_id": "Int64"}
    assert [(view.name, view.ttl_seconds) for view in spec.views] == [("user_profile", 86400.0), ("item_profile", None)]
    assert spec.views[0].path == str(data / "users.parquet")
    assert spec.request_columns == ("hour",)
    assert ServiceSpec.model_validate_json(spec.model_dump_json()) == spec


def test_repo_is_absent(tmp_path: Path) -> None:
    assert "The Feast repo does not exist" in refused(tmp_path / "nowhere")
    assert "no feature_store.yaml" in refused(tmp_path)


def test_repo_was_never_applied_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_text(SETTINGS)
    assert f"run `feast apply` in {tmp_path}" in refused(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["feature_store.yaml"]


def test_settings_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_text("project: [")
    assert "cannot be opened" in refused(tmp_path)


@pytest.mark.parametrize("store", ["", "offline_store:\n    type: dask\n", "offline_store:\n    type: file\n"])
def test_stores_that_lose_rows_are_refused(repo: Path, tmp_path: Path, store: str) -> None:
    shutil.copytree(repo, tmp_path / "repo")
    settings = tmp_path / "repo" / "feature_store.yaml"
    settings.write_text(SETTINGS.replace(f"offline_store:\n    type: {OURS}\n", store))
    message = refused(tmp_path / "repo")
    assert "loses rows" in message
    assert f"offline_store: {{type: {OURS}}}" in message


def test_absent_service_names_those_that_exist(repo: Path) -> None:
    message = refused(repo, service="tiny_v2")
    assert "no feature service 'tiny_v2'" in message
    assert "services tiny_v1" in message
    assert "did you mean 'tiny_v1'?" in message


def test_registry_without_services(data: Path, tmp_path: Path) -> None:
    apply_repo(tmp_path, definitions(data)[:3])
    assert "holds no feature service" in refused(tmp_path)


def test_absent_view_is_named(data: Path, tmp_path: Path) -> None:
    import feast

    apply_repo(tmp_path, definitions(data))
    store = feast.FeatureStore(repo_path=str(tmp_path))
    store.registry.delete_feature_view("item_profile", "tiny")
    message = refused(tmp_path)
    assert "feature view 'item_profile' is not in the registry" in message
    assert "tiny_v1" in message


def test_absent_source_file_is_named(tmp_path: Path) -> None:
    write_sources(tmp_path / "data")
    apply_repo(tmp_path / "repo", definitions(tmp_path / "data"))
    repo = opened(tmp_path / "repo")
    (tmp_path / "data" / "users.parquet").unlink()
    message = refused(tmp_path / "repo")
    assert "source 'users' of feature view 'user_profile' cannot be read" in message
    assert str(tmp_path / "data" / "users.parquet") in message
    with pytest.raises(FeatureStoreError, match="'users'"):
        repo.source_fingerprints()


def test_unreachable_remote_source_is_named(tmp_path: Path) -> None:
    from feast import Entity, FeatureService, FeatureView, Field, FileSource
    from feast.types import Float64
    from feast.value_type import ValueType

    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
    source = FileSource(name="far", path="nosuchscheme://host/users.parquet", timestamp_field="event_timestamp")
    schema = [Field(name="user_id", dtype=_int64()), Field(name="age", dtype=Float64)]
    view = FeatureView(name="far_view", entities=[user], schema=schema, source=source)
    apply_repo(tmp_path, [user, view, FeatureService(name="tiny_v1", features=[view])])
    message = refused(tmp_path)
    assert "source 'far' of feature view 'far_view' cannot be read" in message
    assert "nosuchscheme://host/users.parquet" in message


def _int64() -> Any:
    from feast.types import Int64

    return Int64


def test_absent_source_column_is_named(data: Path, tmp_path: Path) -> None:
    from feast import Field
    from feast.types import Float64

    custom_repo(tmp_path, data, [Field(name="aged", dtype=Float64)])
    message = refused(tmp_path)
    assert "has no column 'aged'" in message
    assert "did you mean 'age'?" in message


def test_feature_names_that_feast_would_break(data: Path, tmp_path: Path) -> None:
    from feast import Field
    from feast.types import Int64

    folder = tmp_path / "data"
    folder.mkdir()
    users = pq.read_table(data / "users.parquet")
    pq.write_table(users.append_column("money_y", users["user_id"]), folder / "users.parquet")
    custom_repo(tmp_path / "repo", folder, [Field(name="money_y", dtype=Int64)])
    opened(tmp_path / "repo")  # our own join has nothing against the name
    settings = tmp_path / "repo" / "feature_store.yaml"
    settings.write_text(settings.read_text().replace(OURS, "duckdb"))
    assert "'money_y' ends in _y" in refused(tmp_path / "repo")


def test_encodings_that_do_not_fit(data: Path, repo: Path, tmp_path: Path) -> None:
    from feast import Field
    from feast.types import String, UnixTimestamp

    custom_repo(tmp_path / "tagged", data, [Field(name="city", dtype=String, tags={"encoding": "numeric"})])
    message = refused(tmp_path / "tagged")
    assert "'city' cannot be encoded" in message
    assert "encoding numeric" in message
    assert "categorical" in message
    custom_repo(tmp_path / "time", data, [Field(name="created_timestamp", dtype=UnixTimestamp)])
    assert "no encoding for this type" in refused(tmp_path / "time")
    assert "names 'agee'" in refused(repo, encodings={"agee": "numeric"})


def test_keys_and_names_that_do_not_fit(repo: Path) -> None:
    assert "'session' is no join key" in refused(repo, keys=["session"])
    assert "'price' occurs more than once" in refused(repo, context={"price": "numeric"})


def spine(**changes: pa.Array) -> pa.Table:
    columns = {
        "user_id": pa.array([1, 39]),
        "item_id": pa.array([2, 3]),
        "event_timestamp": pa.array([at(5), at(6)], TIMESTAMP),
        "hour": pa.array([4, None]),
    }
    return pa.table({name: column for name, column in {**columns, **changes}.items() if column is not None})


def test_on_demand_views_keep_rows_and_types(repo: Path) -> None:
    result = opened(repo).historical(spine())
    assert result["evening_price"].to_pylist() == [12.0, None]
    assert result["recent"].to_pylist() == [[0], None]
    assert result["price"].to_pylist() == [3.0, 4.5]
    assert result.column_names == ["row_id", "age", "city", "recent", "price", "evening_price"]


def test_spines_that_do_not_fit_the_repo(repo: Path) -> None:
    opened_repo = opened(repo)
    with pytest.raises(DataError, match=r"'user_id'[\s\S]*string[\s\S]*Int64"):
        opened_repo.historical(spine(user_id=pa.array(["1", "2"])))
    with pytest.raises(DataError, match=r"no column 'hour'"):
        opened_repo.historical(spine().drop_columns(["hour"]))


def test_lost_rows_are_never_accepted(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Feast's dask store, which loses rows of a slate, behind the check of its name.
    monkeypatch.setattr(feature_store, "LOSSY_STORES", frozenset())
    shutil.copytree(repo, tmp_path / "repo")
    (tmp_path / "repo" / "feature_store.yaml").write_text(SETTINGS.replace(OURS, "dask"))
    slate = pa.table(
        {
            "user_id": pa.array([1, 1, 1]),
            "item_id": pa.array([2, 3, 4]),
            "event_timestamp": pa.array([at(5)] * 3, TIMESTAMP),
            "hour": pa.array([1, 1, 1]),
        }
    )
    with pytest.raises(FeatureStoreError, match=r"other rows than the spine has[\s\S]*1 rows for 3"):
        opened(tmp_path / "repo").historical(slate)


def test_registry_hash_ignores_times_and_texts_and_sees_definitions(data: Path, repo: Path, tmp_path: Path) -> None:
    before = opened(repo).registry_hash
    again = tmp_path / "again"
    apply_repo(again, definitions(data))  # other times of creation
    assert opened(again).registry_hash == before
    objects = definitions(data)
    objects[2].description = "who they are"
    apply_repo(tmp_path / "described", objects)
    assert opened(tmp_path / "described").registry_hash == before
    objects = definitions(data)
    objects[2].ttl = timedelta(days=2)
    apply_repo(tmp_path / "ttl", objects)
    assert opened(tmp_path / "ttl").registry_hash != before
    objects = definitions(data)
    transformation = objects[4].feature_transformation
    transformation.udf_string = transformation.udf_string.replace("*", "+")
    apply_repo(tmp_path / "code", objects)
    assert opened(tmp_path / "code").registry_hash != before


@pytest.mark.parametrize("column", ["owner", "description", "uri"])
def test_registry_hash_sees_columns_that_are_called_like_texts_for_people(column: str) -> None:
    def document(field: str) -> dict[str, object]:
        return {"batchSource": {"fieldMapping": {column: field, "other": "age"}, "owner": "somebody"}}

    assert canonical(document("income")) != canonical(document("rent"))
    assert "owner" not in canonical(document("income"))["batchSource"]
