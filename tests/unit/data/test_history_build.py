"""A sequence with times, a vector and task inputs from a real Feast repo to tensors."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import TypeAdapter

from mtl_ray.batch import Batch
from mtl_ray.data.building import inputs as inputs_module
from mtl_ray.data.feature_store import FeaturesConfig
from mtl_ray.data.snapshot import Snapshot, TrainingSetConfig, build_training_set
from mtl_ray.data.stream import batch_columns
from mtl_ray.data.tensors import to_batch
from mtl_ray.errors import ConfigError, DataError, FeatureStoreError
from mtl_ray.schema import FIRST_KNOWN_ID
from mtl_ray.tasks import TaskConfig
from tests.tiny_shop import TIMESTAMP, apply_repo, at, write_sources, write_spine
from tests.unit.data.test_snapshot import checksums

ROWS, KEPT = 1000, 3
TASKS: dict[str, TaskConfig] = TypeAdapter(dict[str, TaskConfig]).validate_python(
    {
        "click": {"type": "binary", "sample_weight": "importance"},
        "spend": {"type": "regression", "observed_when": "click", "sample_weight": "price"},
    }
)


def history(user: int, time: float) -> tuple[list[int] | None, list[str] | None, list[datetime] | None]:
    """Items, shops and times that the feature row of `time` lists, oldest first; null for some users."""
    if user % 9 == 8:
        return None, None, None
    size = user % 6
    items = [(user + time // 100 + k) % 25 for k in range(size)]
    times = [at(time - 60 * (size - k)) for k in range(size)]
    return [int(item) for item in items], [f"shop{int(item) % 3}" for item in items], times


def vector(user: int, time: float) -> list[float] | None:
    if user % 7 == 0:
        return None
    return [float(user), float("nan") if user % 7 == 1 else time]


def write_histories(data: Path) -> None:
    """histories.parquet: 39 users at two times, at the second one twice: a row that was created later replaces one
    whose lists are of other lengths."""
    rows: list[dict[str, Any]] = []
    for user in range(39):
        for time, created in ((0, 0), (500, 500), (500, 501)):
            items, shops, times = history(user, time)
            rows.append({"user_id": user, "items": items, "shops": shops, "times": times, "taste": vector(user, time)})
            rows[-1] |= {"event_timestamp": at(time), "created_timestamp": at(created)}
            if created == 500:
                rows[-1] |= {"items": [24], "shops": ["closed"], "times": [at(400)], "taste": [-1.0, -1.0]}
    schema = pa.schema(
        {
            "user_id": pa.int64(),
            "items": pa.list_(pa.int64()),
            "shops": pa.list_(pa.string()),
            "times": pa.list_(TIMESTAMP),
            "taste": pa.list_(pa.float32()),
            "event_timestamp": TIMESTAMP,
            "created_timestamp": TIMESTAMP,
        }
    )
    pq.write_table(pa.Table.from_pylist(rows[::-1], schema), data / "histories.parquet")


def definitions(data: Path, times_tags: dict[str, str]) -> list[Any]:
    from feast import Entity, FeatureService, FeatureView, Field, FileSource
    from feast.types import Array, Float32, Float64, Int64, String, UnixTimestamp
    from feast.value_type import ValueType

    def source(name: str) -> Any:
        return FileSource(
            name=name,
            path=str(data / f"{name}.parquet"),
            timestamp_field="event_timestamp",
            created_timestamp_column="created_timestamp",
        )

    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
    item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.INT64)
    histories = FeatureView(
        name="user_history",
        entities=[user],
        ttl=timedelta(days=1),
        schema=[
            Field(name="items", dtype=Array(Int64), tags={"vocabulary": "item_id", "sequence": "visits"}),
            Field(name="shops", dtype=Array(String), tags={"sequence": "visits"}),
            Field(name="times", dtype=Array(UnixTimestamp), tags=times_tags),
            Field(name="taste", dtype=Array(Float32)),
        ],
        source=source("histories"),
    )
    prices = FeatureView(
        name="item_profile",
        entities=[item],
        ttl=timedelta(0),
        schema=[Field(name="price", dtype=Float64)],
        source=source("items"),
    )
    return [user, item, histories, prices, FeatureService(name="visits_v1", features=[histories, prices])]


class HistoryShop:
    """Data, an applied repo and the arguments of `build_training_set`."""

    def __init__(self, root: Path, times_tags: dict[str, str] | None = None) -> None:
        self.root = root
        write_sources(root / "data")
        write_histories(root / "data")
        write_spine(root / "spine", ROWS)
        tags = {"encoding": "times", "sequence": "visits"} if times_tags is None else times_tags
        apply_repo(root / "repo", definitions(root / "data", tags))
        self.features = FeaturesConfig(repo=str(root / "repo"), service="visits_v1", keys=("user_id", "item_id"))

    def build(
        self, storage: Path, said: list[str] | None = None, tasks: dict[str, TaskConfig] = TASKS, **options: Any
    ) -> Snapshot:
        preprocessing = {"list_max_lengths": {"visits": KEPT}, **options.pop("preprocessing", {})}
        config = {"spine": str(self.root / "spine"), "split": {"validation": 0.1, "test": 0.2}, "rows_per_shard": 300}
        parsed = TrainingSetConfig.model_validate({**config, "preprocessing": preprocessing})
        say = (said if said is not None else []).append
        return build_training_set(str(storage), self.features, parsed, tasks, None, say, **options)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> HistoryShop:
    return HistoryShop(tmp_path_factory.mktemp("visits"))


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def built(shop: HistoryShop, said: list[str]) -> Snapshot:
    return shop.build(shop.root / "runs", said)


def read(snapshot: Snapshot, parts: tuple[str, ...] = ("train", "validation", "test")) -> Batch:
    columns = batch_columns(snapshot.schema)
    files = [path for part in parts for path, _ in snapshot.files(part)]
    table = pa.concat_tables(pq.read_table(path, columns=columns) for path in files)
    return to_batch(table.combine_chunks(), snapshot.schema)


def test_the_schema_says_what_belongs_together(built: Snapshot) -> None:
    schema = built.schema
    lists = [(item.name, item.vocabulary, item.max_length, item.sequence) for item in schema.lists]
    assert lists == [("items", "item_id", KEPT, "visits"), ("shops", "shops", KEPT, "visits")]
    assert [(item.name, item.sequence, item.max_length) for item in schema.ages] == [("times", "visits", KEPT)]
    assert [(item.name, item.size) for item in schema.vectors] == [("taste", 2)]
    assert schema.task_inputs == ("importance", "price")
    assert schema.numeric == ("price",)  # an input of the model too, which `importance` is not
    assert len(schema.numeric_quantiles[0]) == 65
    assert built.manifest.format_version == 3
    assert built.summary()["features"] == {"categorical": 2, "numeric": 1, "lists": 2, "times": 1, "vectors": 1}


def test_every_row_has_the_history_and_the_vector_that_it_had_at_its_time(built: Snapshot) -> None:
    batch = read(built)
    vocabularies = built.manifest.preprocessing.vocabularies
    assert sorted(batch.row_id.tolist()) == list(range(ROWS))
    for position, row in enumerate(batch.row_id.tolist()):
        user, time = row % 40, 500 if row >= 500 else 0
        items, shops, times = history(user, time) if user < 39 else (None, None, None)
        size = min(len(items or []), KEPT)
        padding = [0] * (KEPT - size)
        ages = [(at(row) - moment).total_seconds() for moment in (times or [])[-KEPT:]]
        assert batch.ages["times"][position].tolist() == [*padding, *ages]
        for name, values in (("items", items), ("shops", shops)):
            known: list[Any] = list(vocabularies["item_id" if name == "items" else name].values)
            ids = [known.index(value) + FIRST_KNOWN_ID for value in (values or [])[-KEPT:]]
            assert batch.lists[name][position].tolist() == [*padding, *ids]
        taste = vector(user, time) if user < 39 else None
        expected = [0.0, 0.0] if taste is None or not np.isfinite(taste).all() else taste
        assert batch.vectors["taste"][position].tolist() == expected


def test_task_inputs_are_raw_and_follow_their_rows(built: Snapshot) -> None:
    batch = read(built)
    assert list(batch.task_inputs) == ["importance", "price"]
    torch.testing.assert_close(batch.task_inputs["importance"], (1 + batch.row_id % 2).float())
    torch.testing.assert_close(batch.task_inputs["price"], 1.5 * (batch.row_id * 7 % 25).float())


def test_the_build_says_how_many_rows_were_cut(built: Snapshot, said: list[str]) -> None:
    train = [row for row in range(700) if row % 40 < 39]
    long = sum(len(history(row % 40, 0)[0] or []) > KEPT for row in train)
    assert built.manifest.preprocessing.truncated == {"items": long, "shops": long}
    notes = [line for line in said if "entries" in line]
    assert notes == [f"visits: {long} of 700 rows had more than 3 entries; the newest 3 are kept"]


def test_the_contract_counts_missing_vectors_and_lists(built: Snapshot) -> None:
    features = {feature.name: feature for feature in built.contract().features}
    rows = np.arange(700) % 40
    missing = (rows % 7 <= 1) | (rows == 39)
    assert features["taste"].missing["train"] == pytest.approx(missing.mean())
    assert built.manifest.missing["taste"] == pytest.approx(missing.mean())
    assert features["taste"].psi is None
    assert features["times"].psi is None
    assert features["items"].psi is not None
    assert features["times"].missing == features["items"].missing
    assert features["times"].type == "list<element: timestamp[us, tz=UTC]>"


def test_the_cut_into_buckets_changes_nothing(
    shop: HistoryShop, built: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs_module, "MOST_BUCKET_ROWS", 90)
    small = shop.build(tmp_path)
    assert checksums(small) == checksums(built)
    assert small.manifest.preprocessing == built.manifest.preprocessing


def test_rows_are_appended_with_the_fitted_lengths_and_sizes(shop: HistoryShop, tmp_path: Path) -> None:
    spine = shop.root / "spine" / "part-0.parquet"
    whole = pq.read_table(spine)
    try:
        pq.write_table(whole.slice(0, 700), spine)
        base = shop.build(tmp_path)
        pq.write_table(whole, spine)
        grown = shop.build(tmp_path, since=at(700))
    finally:
        pq.write_table(whole, spine)
    one, two = base.manifest.preprocessing, grown.manifest.preprocessing
    assert (one.lists, one.ages, one.vectors, one.numeric) == (two.lists, two.ages, two.vectors, two.numeric)
    assert grown.schema.numeric_quantiles == base.schema.numeric_quantiles
    batch = read(grown)
    assert sorted(batch.row_id.tolist()) == list(range(ROWS))
    torch.testing.assert_close(batch.task_inputs["importance"], (1 + batch.row_id % 2).float())
    newest = (batch.row_id == 999).nonzero().item()
    assert batch.ages["times"][newest].tolist() == [0.0] * KEPT  # of user 39, whom the view does not know
    known = (batch.row_id == 989).nonzero().item()  # user 29: five visits, the last a minute before second 500
    assert batch.ages["times"][known].tolist() == [989 - 320, 989 - 380, 989 - 440]


def test_histories_that_are_wrong_stop_the_build(shop: HistoryShop, tmp_path: Path) -> None:
    file = shop.root / "data" / "histories.parquet"
    good = pq.read_table(file)
    position = good.column_names.index("times")

    def changed(function: Any) -> pa.Table:
        values = [function(times) for times in good["times"].to_pylist()]
        return good.set_column(position, "times", pa.array(values, pa.list_(TIMESTAMP)))

    def later(times: list[datetime] | None) -> list[datetime] | None:
        return times and [time + timedelta(hours=1) for time in times]

    def shorter(times: list[datetime] | None) -> list[datetime] | None:
        return times and times[1:]

    try:
        for function, message in (
            (later, r"the future leaks[\s\S]*spine row 1, feature times"),
            (shorter, r"'visits' have different lengths[\s\S]*spine row 1, features items and times"),
        ):
            pq.write_table(changed(function), file)
            with pytest.raises(DataError, match=message):
                shop.build(tmp_path / function.__name__)
    finally:
        pq.write_table(good, file)


def test_a_join_of_latest_values_may_leak(shop: HistoryShop, tmp_path: Path) -> None:
    latest = shop.build(tmp_path, latest_views=["user_history"])
    batch = read(latest)
    early = (batch.row_id == 5).nonzero().item()  # user 5 gets the visits of seconds 320 to 440
    assert batch.ages["times"][early].tolist() == [0.0, 0.0, 0.0]
    assert (batch.lists["items"][early] >= FIRST_KNOWN_ID).all()


def test_names_that_are_none_are_refused_before_the_join(shop: HistoryShop, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"list_max_lengths[\s\S]*visitz[\s\S]*did you mean visits\?"):
        shop.build(tmp_path, preprocessing={"list_max_lengths": {"visitz": 2}})
    with pytest.raises(ConfigError, match=r"preprocessing\.unknown_ids[\s\S]*found:\s+visitz"):
        shop.build(tmp_path, preprocessing={"unknown_ids": {"visitz": 2}})

    def weighted(column: str) -> dict[str, TaskConfig]:
        return {"click": TASKS["click"].model_copy(update={"sample_weight": column})}

    with pytest.raises(ConfigError, match=r"'click' reads a column that there is not[\s\S]*did you mean importance\?"):
        shop.build(tmp_path, tasks=weighted("importanc"))
    with pytest.raises(ConfigError, match=r"holds no numbers[\s\S]*feature taste[\s\S]*Array\(Float32\)"):
        shop.build(tmp_path, tasks=weighted("taste"))
    with pytest.raises(ConfigError, match=r"holds no numbers[\s\S]*spine column event_timestamp[\s\S]*timestamp"):
        shop.build(tmp_path, tasks=weighted("event_timestamp"))
    assert not list((tmp_path / "training_sets").glob("visits*"))


def test_tags_that_make_no_sequence_are_refused_when_the_repo_is_opened(tmp_path: Path) -> None:
    shop = HistoryShop(tmp_path / "other", {"encoding": "times"})
    with pytest.raises(FeatureStoreError, match=r"times 'times' belong to no sequence[\s\S]*user_history"):
        shop.build(tmp_path / "runs")
