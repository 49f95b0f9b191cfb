"""The offline store in real Feast: every way in and out gives one table, equal to Feast's duckdb store where that is
right, and the `feast` command works with it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtl_ray.errors import DataError, FeatureStoreError
from tests.tiny_shop import SETTINGS, TIMESTAMP, at

OURS = SETTINGS.replace("type: duckdb", "type: mtl_ray.data.offline_store.PointInTimeOfflineStore")

DEFINITIONS = """
from datetime import timedelta

import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Float64, Int64, String
from feast.value_type import ValueType

user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.STRING)


def source(name, **more):
    return FileSource(
        name=name,
        path=f"{FOLDER}{name}.parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
        **more,
    )


profile = FeatureView(
    name="profile",
    entities=[user],
    ttl=timedelta(seconds=300),
    schema=[Field(name="age", dtype=Int64), Field(name="city", dtype=String), Field(name="recent", dtype=Array(Int64))],
    source=source("users", field_mapping={"uid": "user_id", "years": "age"}),
)
items = FeatureView(
    name="items",
    entities=[item],
    ttl=timedelta(0),
    schema=[Field(name="price", dtype=Float64)],
    source=source("items"),
)
pairs = FeatureView(
    name="pairs",
    entities=[user, item],
    ttl=timedelta(days=1),
    schema=[Field(name="views", dtype=Int64)],
    source=source("pairs"),
)
season = FeatureView(
    name="season",
    entities=[],
    ttl=timedelta(days=1),
    schema=[Field(name="discount", dtype=Float64)],
    source=source("season"),
)
request = RequestSource(name="request", schema=[Field(name="hour", dtype=Int64)])


@on_demand_feature_view(
    sources=[items, season, pairs, request],
    schema=[Field(name="final_price", dtype=Float64), Field(name="heat", dtype=Int64)],
    mode="pandas",
)
def offer(inputs: pd.DataFrame) -> pd.DataFrame:
    final = inputs["price"] * (1 - inputs["discount"])
    return pd.DataFrame({"final_price": final, "heat": inputs["views"] + inputs["hour"]})


@on_demand_feature_view(sources=[profile], schema=[Field(name="shouted", dtype=String)], mode="python")
def shout(inputs):
    return {"shouted": [None if city is None else city.upper() for city in inputs["city"]]}


everything = FeatureService(name="everything", features=[profile, items, pairs, season, offer, shout])
twice = FeatureService(
    name="twice",
    features=[
        profile.with_name("buyer").with_join_key_map({"user_id": "buyer_id"})[["age", "city"]],
        profile.with_name("seller").with_join_key_map({"user_id": "seller_id"})[["age", "recent"]],
    ],
)
only_on_demand = FeatureService(name="only_on_demand", features=[offer])
"""

USERS, ITEMS = 30, 12


def write_sources(folder: Path) -> None:
    """Random rows at whole seconds 0 to 1000, with gaps, ties broken by `created`, and users and items without any."""
    random = np.random.default_rng(7)
    folder.mkdir(parents=True)

    def write(name: str, rows: int, columns: dict[str, pa.Array]) -> None:
        seconds = random.integers(0, 1000, rows)
        late = random.permutation(rows)
        times = {
            "event_timestamp": pa.array([at(int(second)) for second in seconds], TIMESTAMP),
            "created": pa.array(
                [at(int(second) + int(more)) for second, more in zip(seconds, late, strict=True)], TIMESTAMP
            ),
        }
        pq.write_table(pa.table({**columns, **times}), folder / f"{name}.parquet")

    def some(values: list[Any]) -> list[Any]:
        return [None if random.random() < 0.1 else value for value in values]

    users = random.integers(0, USERS, 300).tolist()
    write(
        "users",
        300,
        {
            "uid": pa.array(users),
            "years": pa.array(some([2**53 + 1 + user for user in users]), pa.int64()),
            "city": pa.array(some([f"city{number}" for number in random.integers(0, 9, 300)]), pa.string()),
            "recent": pa.array(some([list(range(user % 4)) for user in users]), pa.list_(pa.int64())),
        },
    )
    names = [f"item{number}" for number in random.integers(0, ITEMS, 100)]
    write("items", 100, {"item_id": pa.array(names), "price": pa.array(random.normal(size=100).tolist())})
    write(
        "pairs",
        400,
        {
            "user_id": pa.array(random.integers(0, USERS, 400)),
            "item_id": pa.array([f"item{number}" for number in random.integers(0, ITEMS, 400)]),
            "views": pa.array(random.integers(0, 99, 400)),
        },
    )
    write("season", 9, {"discount": pa.array(random.random(9).tolist())})


def spine_table(rows: int = 500) -> pa.Table:
    """Single impressions at distinct times (Feast's duckdb store is right on them); some users and items unknown."""
    random = np.random.default_rng(11)
    seconds = random.permutation(1500)[:rows]
    return pa.table(
        {
            "user_id": pa.array(random.integers(0, USERS + 3, rows)),
            "item_id": pa.array([f"item{number}" for number in random.integers(0, ITEMS + 2, rows)]),
            "event_timestamp": pa.array([at(int(second)) for second in seconds], TIMESTAMP),
            "hour": pa.array(random.integers(0, 24, rows)),
            "number": pa.array(np.arange(rows)),
        }
    )


@dataclass(frozen=True)
class Repos:
    """Two repos of the same definitions over the same files."""

    ours: Any
    duckdb: Any
    folder: Path

    @property
    def repo(self) -> Path:
        """Folder of the repo with our store."""
        return self.folder / "ours"


def feast_command(*arguments: str, repo: Path) -> None:
    feast = Path(sys.executable).parent / "feast"
    done = subprocess.run([feast, *arguments], cwd=repo, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def repos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repos]:
    """Ours applied by the `feast` command, its source paths relative to the repo."""
    import feast
    from feast.on_demand_feature_view import OnDemandFeatureView

    folder = tmp_path_factory.mktemp("stores")
    ours, theirs = folder / "ours", folder / "theirs"
    write_sources(ours / "data")
    (ours / "feature_store.yaml").write_text(OURS)
    (ours / "features.py").write_text('FOLDER = "data/"\n' + DEFINITIONS)
    feast_command("apply", repo=ours)

    theirs.mkdir()
    (theirs / "feature_store.yaml").write_text(SETTINGS)
    (theirs / "features.py").write_text(f'FOLDER = "{ours}/data/"\n' + DEFINITIONS)
    spec = importlib.util.spec_from_file_location("duckdb_features", theirs / "features.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    duckdb = feast.FeatureStore(repo_path=str(theirs))
    kinds = (feast.Entity, feast.FeatureView, OnDemandFeatureView, feast.FeatureService)
    duckdb.apply([item for item in vars(module).values() if isinstance(item, kinds)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield Repos(feast.FeatureStore(repo_path=str(ours)), duckdb, folder)


@pytest.fixture(scope="module")
def expected(repos: Repos) -> pa.Table:
    """The features of `everything` for the spine."""
    table: pa.Table = job(repos, spine_table()).to_arrow()
    return table


def job(repos: Repos, entities: Any, features: Any = "everything", **more: Any) -> Any:
    if isinstance(features, str):
        features = repos.ours.get_feature_service(features)
    return repos.ours.get_historical_features(entity_df=entities, features=features, **more)


def plain(table: Any) -> dict[str, list[Any]]:
    """Columns by name as Python values: gaps are None, lists are lists, times are UTC."""
    table = table if isinstance(table, pa.Table) else pa.Table.from_pandas(table, preserve_index=False)
    columns = {}
    for name in sorted(table.column_names):
        values = table[name].to_pylist()
        columns[name] = [None if isinstance(value, float) and value != value else value for value in values]
    return columns


def test_equals_feasts_duckdb_store(repos: Repos, expected: pa.Table) -> None:
    frame = spine_table().to_pandas()
    theirs = repos.duckdb.get_historical_features(
        entity_df=frame, features=repos.duckdb.get_feature_service("everything")
    ).to_arrow()
    theirs = theirs.sort_by("number")
    assert set(expected.column_names) == set(theirs.column_names)
    ours, reference = plain(expected), plain(theirs)
    reference["heat"] = [None if value is None else int(value) for value in reference["heat"]]  # pandas' floats
    for name in reference:
        assert ours[name] == reference[name], name
    assert sum(value is not None for value in ours["age"]) > 100
    assert sum(value is None for value in ours["age"]) > 100
    assert any(value is not None and value > 2**53 and value % 2 for value in ours["age"])


def test_on_demand_features_have_their_declared_types(expected: pa.Table) -> None:
    kinds = {field.name: field.type for field in expected.schema}
    assert kinds["final_price"] == pa.float64()
    assert kinds["heat"] == pa.int64()
    assert kinds["shouted"] == pa.string()


@pytest.mark.parametrize("form", ["pandas", "arrow", "record batch", "file", "folder", "naive", "text times"])
def test_every_entity_frame_gives_the_same_table(repos: Repos, expected: pa.Table, form: str, tmp_path: Path) -> None:
    spine = spine_table()
    entities: Any = spine
    if form == "pandas":
        entities = spine.to_pandas()
    elif form == "record batch":
        entities = spine.combine_chunks().to_batches()[0]
    elif form == "file":
        pq.write_table(spine, tmp_path / "spine.parquet", row_group_size=99)
        entities = str(tmp_path / "spine.parquet")
    elif form == "folder":
        pq.write_table(spine.slice(0, 123), tmp_path / "a.parquet")
        pq.write_table(spine.slice(123), tmp_path / "b.parquet")
        entities = tmp_path
    elif form == "naive":
        entities = spine.set_column(2, "event_timestamp", spine["event_timestamp"].cast(pa.timestamp("us")))
    elif form == "text times":
        frame = spine.to_pandas()
        entities = frame.assign(event_timestamp=[time.isoformat() for time in frame["event_timestamp"]])
    result = job(repos, entities).to_arrow()
    assert result.column_names == expected.column_names
    times = result["event_timestamp"].cast(TIMESTAMP)
    result = result.set_column(result.column_names.index("event_timestamp"), "event_timestamp", times)
    assert plain(result) == plain(expected)


def test_every_result_is_the_same_table(repos: Repos, expected: pa.Table, tmp_path: Path) -> None:
    frame = job(repos, spine_table()).to_df()
    assert len(frame) == expected.num_rows
    pd.testing.assert_frame_equal(frame, expected.to_pandas())
    files = job(repos, spine_table()).to_parquet(tmp_path / "out")
    assert pa.concat_tables([pq.read_table(file) for file in files]).equals(expected)


@pytest.mark.usefixtures("ray_cluster")
def test_ray_datasets_in_and_out(repos: Repos, expected: pa.Table, tmp_path: Path) -> None:
    import ray.data

    entities = ray.data.from_arrow([spine_table().slice(0, 200), spine_table().slice(200)])
    kept = list(job(repos, entities).to_ray_dataset().iter_batches(batch_format="pyarrow", batch_size=None))
    assert all(batch.schema.equals(expected.schema) for batch in kept)
    assert plain(pa.concat_tables(kept).sort_by("number")) == plain(expected)

    files = job(repos, spine_table()).to_parquet(tmp_path / "out")  # Ray is connected: its workers write
    assert pa.concat_tables([pq.read_table(file) for file in files]).equals(expected)

    broken = spine_table().set_column(0, "user_id", pa.array([0.5] * 500))
    with pytest.raises(DataError, match="no 64-bit integer"):  # what a worker refuses arrives as it is
        job(repos, broken).to_parquet(tmp_path / "broken")


def test_one_view_under_two_names(repos: Repos) -> None:
    spine = spine_table()
    spine = spine.select(["event_timestamp", "number"]).append_column("buyer_id", spine["user_id"])
    spine = spine.append_column("seller_id", pa.array(np.arange(500) % USERS))
    result = job(repos, spine, "twice", full_feature_names=True).to_arrow()
    assert set(result.column_names) - set(spine.column_names) == {
        "buyer__age",
        "buyer__city",
        "seller__age",
        "seller__recent",
    }
    for alias, features in (("buyer", ("age", "city")), ("seller", ("age", "recent"))):
        alone = spine.select(["event_timestamp", "number"]).append_column("user_id", spine[f"{alias}_id"])
        single = job(repos, alone, [f"profile:{name}" for name in features]).to_arrow()
        for name in features:
            assert result[f"{alias}__{name}"].equals(single[name])


def test_clashing_names_are_refused(repos: Repos) -> None:
    spine = spine_table().append_column("age", pa.array(np.zeros(500)))
    with pytest.raises(DataError, match="two columns named 'age'") as caught:
        job(repos, spine, ["profile:age"]).to_arrow()
    assert "full_feature_names" in str(caught.value)
    result = job(repos, spine, ["profile:age"], full_feature_names=True).to_arrow()
    assert {"age", "profile__age"} <= set(result.column_names)


def test_full_feature_names_reach_on_demand_views(repos: Repos, expected: pa.Table) -> None:
    result = job(repos, spine_table(), full_feature_names=True).to_arrow()
    short = {name.rpartition("__")[2]: name for name in result.column_names}
    assert (short["final_price"], short["shouted"]) == ("offer__final_price", "shout__shouted")
    assert set(short) == set(expected.column_names)
    for name, long in short.items():
        assert plain(result.select([long]))[long] == plain(expected.select([name]))[name], name


def test_on_demand_features_alone(repos: Repos, expected: pa.Table) -> None:
    result = job(repos, spine_table(), "only_on_demand").to_arrow()
    assert result["final_price"].equals(expected["final_price"])
    assert result["heat"].equals(expected["heat"])


def test_on_demand_features_do_not_depend_on_the_buckets(repos: Repos, expected: pa.Table, tmp_path: Path) -> None:
    from dataclasses import replace

    from mtl_ray.data.join.results import write_joined

    whole = job(repos, spine_table())
    join = whole._join(tmp_path, "local")
    small = replace(join, plan=replace(join.plan, bucket_rows=7), identity="small")
    files = write_joined(small, whole.on_demand, tmp_path / "out", "local", lambda _: None)
    assert len(files) == 72
    tables = [pq.read_table(file) for file in files]
    assert all(table.schema.equals(expected.schema) for table in tables)
    assert pa.concat_tables(tables).equals(expected)


def test_late_backfills_are_hidden_on_demand(repos: Repos) -> None:
    spine = spine_table()
    source = pq.read_table(repos.repo / "data" / "users.parquet").to_pylist()
    result = job(repos, spine, ["profile:city"], filter_by_created_timestamp=True).to_arrow()
    for row, city in zip(spine.to_pylist(), result["city"].to_pylist(), strict=True):
        known = [
            (one["event_timestamp"], one["created"], one["city"])
            for one in source
            if one["uid"] == row["user_id"] and max(one["event_timestamp"], one["created"]) <= row["event_timestamp"]
        ]
        best = max(known, key=lambda one: one[:2], default=None)
        fresh = best is not None and row["event_timestamp"] - best[0] <= timedelta(seconds=300)
        assert city == (best[2] if best is not None and fresh else None)


@pytest.mark.parametrize("name", ["saved.parquet", "saved"])
def test_saved_dataset(repos: Repos, expected: pa.Table, name: str) -> None:
    from feast.errors import SavedDatasetLocationAlreadyExists
    from feast.infra.offline_stores.file_source import SavedDatasetFileStorage

    storage = SavedDatasetFileStorage(path=str(repos.folder / name))
    for attempt in range(2):
        dataset = repos.ours.create_saved_dataset(
            from_=job(repos, spine_table()), name=name, storage=storage, allow_overwrite=attempt > 0
        )
    assert dataset.min_event_timestamp.replace(tzinfo=UTC) == min(spine_table()["event_timestamp"].to_pylist())
    assert pq.read_table(repos.folder / name).equals(expected)
    again = repos.ours.get_saved_dataset(name).to_df()
    assert sorted(again["final_price"].dropna()) == sorted(expected["final_price"].drop_null().to_pylist())
    assert len(again) == expected.num_rows
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        job(repos, spine_table()).persist(storage)


def test_pull_all_and_pull_latest_equal_duckdbs(repos: Repos) -> None:
    from mtl_ray.data.offline_store import PointInTimeOfflineStore

    span = {"start_date": at(100), "end_date": at(700)}
    for pull in ("pull_all_from_table_or_query", "pull_latest_from_table_or_query"):
        tables = []
        for store in (repos.ours, repos.duckdb):
            view = store.get_feature_view("profile")
            offline = type(store._get_provider().offline_store)
            tables.append(
                getattr(offline, pull)(
                    store.config, view.batch_source, ["uid"], ["years", "recent"], "event_timestamp", "created", **span
                )
                .to_arrow()
                .select(["uid", "years", "recent", "event_timestamp", "created"])
                .sort_by([("uid", "ascending"), ("event_timestamp", "ascending"), ("created", "ascending")])
            )
        assert issubclass(type(repos.ours._get_provider().offline_store), PointInTimeOfflineStore)
        assert plain(tables[0]) == plain(tables[1])
        assert tables[0].num_rows > 20


def newest(repos: Repos, before: datetime) -> dict[int, dict[str, Any]]:
    """User -> newest row of the source until `before`."""
    rows: dict[int, dict[str, Any]] = {}
    for row in pq.read_table(repos.repo / "data" / "users.parquet").to_pylist():
        best = rows.get(row["uid"])
        mine = (row["event_timestamp"], row["created"])
        if row["event_timestamp"] <= before and (best is None or mine > (best["event_timestamp"], best["created"])):
            rows[row["uid"]] = row
    return rows


def online(store: Any, features: list[str], rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    result: dict[str, list[Any]] = store.get_online_features(features=features, entity_rows=rows).to_dict()
    return result


def test_materialize_by_command(repos: Repos) -> None:
    begin, middle, end = (at(seconds).strftime("%Y-%m-%dT%H:%M:%S") for seconds in (-60, 500, 2000))
    users = [{"user_id": user} for user in range(USERS + 2)]
    feast_command("materialize", begin, middle, repo=repos.repo)
    found = online(repos.ours, ["profile:city"], users)
    rows = newest(repos, at(500))
    assert found["city"] == [rows[user]["city"] if user in rows else None for user in range(USERS + 2)]

    feast_command("materialize-incremental", end, repo=repos.repo)
    found = online(repos.ours, ["profile:city", "profile:age", "profile:recent"], users)
    rows = newest(repos, at(2000))
    assert found["city"] == [rows[user]["city"] if user in rows else None for user in range(USERS + 2)]

    views = ["profile", "items", "pairs"]  # Feast's duckdb store cannot materialize a view without entities
    repos.duckdb.materialize(at(-60), at(2000), feature_views=views)
    assert found == online(repos.duckdb, ["profile:city", "profile:age", "profile:recent"], users)
    keys = [{"user_id": user, "item_id": f"item{item}"} for user in range(USERS) for item in range(ITEMS)]
    features = ["items:price", "pairs:views"]
    assert online(repos.ours, features, keys) == online(repos.duckdb, features, keys)
    assert sum(value is not None for value in online(repos.ours, features, keys)["views"]) > 100
    season = pq.read_table(repos.repo / "data" / "season.parquet").sort_by("event_timestamp")
    assert online(repos.ours, ["season:discount"], [{"user_id": 0}])["discount"] == [season["discount"][-1].as_py()]


def test_a_range_of_dates_is_refused(repos: Repos) -> None:
    with pytest.raises(FeatureStoreError, match="not to a range of dates"):
        repos.ours.get_historical_features(features=["profile:age"], start_date=at(0), end_date=at(10), entity_df=None)
