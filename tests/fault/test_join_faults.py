"""The point-in-time join under bad input, small budgets, full disks and kills: clear errors, and nothing half done."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ByteSize, TypeAdapter

from mtl_ray.data.entity_frame import entity_rows, time_column
from mtl_ray.data.join.parquet_rows import ParquetRows, TableRows
from mtl_ray.data.join.results import RECORD_FILE, inputs_identity, write_joined
from mtl_ray.data.join.run import joined_buckets, new_join, shuffle
from mtl_ray.data.join.stages import Join
from mtl_ray.data.join.views import JoinView
from mtl_ray.errors import ConfigError, DataError, FeatureStoreError, StorageError, UserError

ROOT = Path(__file__).parents[2]
ROWS = 30_000
PLENTY = 1 << 30
LITTLE = 4_000_000
"""Bytes: enough to work, too few for the view of users to stay whole."""


def silent(_: str) -> None:
    """Nobody listens."""


def unchanged(table: pa.Table) -> pa.Table:
    """Nothing is added to the join."""
    return table


def times(seconds: Sequence[int]) -> pa.Array:
    return pa.array(np.asarray(seconds) * 1_000_000, pa.int64()).cast(pa.timestamp("us", "UTC"))


def write_tables(folder: Path) -> None:
    """A spine, a view of users and one of the whole shop, of random numbers that do not compress."""
    random = np.random.default_rng(3)
    folder.mkdir(parents=True, exist_ok=True)
    users = random.integers(0, 20_000, ROWS)
    spine = {"user_id": users, "at": times(random.integers(0, 10**6, ROWS)), "noise": random.normal(size=ROWS)}
    pq.write_table(pa.table(spine), folder / "spine.parquet", row_group_size=5000)
    rows = 2 * ROWS
    view = {
        "user_id": random.integers(0, 20_000, rows),
        "event_timestamp": times(random.integers(0, 10**6, rows)),
        "score": random.normal(size=rows),
        "name": pa.array([f"name {number}" for number in random.integers(0, 10**9, rows)]),
    }
    pq.write_table(pa.table(view), folder / "users.parquet", row_group_size=7000)
    shop = {"event_timestamp": times([0, 5000]), "discount": [0.5, 0.25]}
    pq.write_table(pa.table(shop), folder / "shop.parquet")


def user_view(folder: Path, **changes: Any) -> JoinView:
    view = JoinView(
        name="users",
        path=str(folder / "users.parquet"),
        keys=(("user_id", "user_id"),),
        timestamp_field="event_timestamp",
        created=None,
        ttl=None,
        columns=(("score", "score"), ("name", "name")),
    )
    return replace(view, **changes)


def shop_view(folder: Path) -> JoinView:
    path = str(folder / "shop.parquet")
    return JoinView("shop", path, (), "event_timestamp", None, None, (("discount", "discount"),))


def planned(data: Path, budget: int, work: Path | None = None) -> Join:
    spine = ParquetRows.of(data / "spine.parquet")
    views = [user_view(data), shop_view(data)]
    return new_join(spine, views, "at", budget=budget, folder=work, identity=inputs_identity(spine, views))


def in_memory(join: Join) -> pa.Table:
    return pa.concat_tables(list(joined_buckets(join, unchanged, silent)))


def read(files: Sequence[Path]) -> pa.Table:
    return pa.concat_tables([pq.read_table(file) for file in files])


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """File -> (inode, time of change): both stay only where a file was not written again."""
    found = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): (file.stat().st_ino, file.stat().st_mtime_ns) for file in found}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_tables(folder)
    return folder


@pytest.fixture(scope="module")
def expected(data: Path) -> pa.Table:
    return in_memory(planned(data, PLENTY))


class SmallDisk:
    """A file system in memory that can be made larger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def grow(self) -> None:
        """As if somebody had freed some space."""
        subprocess.run(["mount", "-o", "remount,size=64m", self.folder], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """700 kB. Mounting takes root's rights, inside a container as well."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", folder], check=True)
    yield SmallDisk(folder)
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_full_disk_under_the_result(data: Path, expected: pa.Table, disk: SmallDisk, tmp_path: Path) -> None:
    out = disk.folder / "out"
    with pytest.raises(StorageError, match="The disk is full") as caught:
        write_joined(planned(data, LITTLE, tmp_path / "work"), unchanged, out, "local", silent)
    assert str(out) in str(caught.value)
    assert "free some space" in str(caught.value)
    before = stamps(out)
    whole = [name for name in before if name.endswith(".parquet")]
    assert len(whole) > 2
    assert set(before) == {*whole, RECORD_FILE}
    rows = planned(data, LITTLE).plan.bucket_rows
    assert {pq.read_table(out / name).num_rows for name in whole} == {rows}

    disk.grow()
    files = write_joined(planned(data, LITTLE, tmp_path / "work2"), unchanged, out, "local", silent)
    assert read(files).equals(expected)
    after = stamps(out)
    assert {name: after[name] for name in before} == before
    assert len(after) > len(before)


def test_full_disk_under_the_shuffle(data: Path, expected: pa.Table, disk: SmallDisk) -> None:
    work = disk.folder / "work"
    with pytest.raises(StorageError, match="The disk is full") as caught:
        shuffle(planned(data, LITTLE, work), "local", silent)
    assert str(work) in str(caught.value)
    before = stamps(work)
    assert any(name.endswith(".arrow") for name in before)
    assert not [name for name in before if Path(name).name.startswith(".")]

    disk.grow()
    assert in_memory(planned(data, LITTLE, work)).equals(expected)
    after = stamps(work)
    fragments = [name for name in before if name.endswith(".arrow")]
    assert {name: after[name] for name in fragments} == {name: before[name] for name in fragments}


def test_a_limit_on_file_sizes_is_told(data: Path, tmp_path: Path) -> None:
    code = f"""
import resource, signal
from pathlib import Path
from mtl_ray.errors import StorageError
from tests.fault.test_join_faults import *
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    write_joined(planned(Path({str(data)!r}), PLENTY), unchanged, Path({str(tmp_path / "out")!r}), "local", silent)
except StorageError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("A file cannot be written.")
    assert "part-00000.parquet" in done.stdout
    assert [file.name for file in (tmp_path / "out").iterdir()] == [RECORD_FILE]


SLOW = """
import sys, time
from pathlib import Path
from tests.fault.test_join_faults import *

def slow(table):
    time.sleep(0.3)
    return table

data, work, out = map(Path, sys.argv[1:])
write_joined(planned(data, LITTLE, work), slow, out, "local", silent)
"""


def test_killed_while_writing(data: Path, expected: pa.Table, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", SLOW, data, tmp_path / "work", out], cwd=ROOT)
    waited = time.monotonic()
    while len(list(out.glob("part-*"))) < 3:
        assert process.poll() is None
        assert time.monotonic() - waited < 120
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    (out / ".part-00099.parquet.1").write_bytes(b"left by the kill")
    before = stamps(out)
    whole = [name for name in before if name.startswith("part-")]
    assert 3 <= len(whole) < planned(data, LITTLE).plan.buckets

    # With more memory the buckets would be larger: those that stand decide.
    files = write_joined(planned(data, 2 * LITTLE, tmp_path / "work2"), unchanged, out, "local", silent)
    assert read(files).equals(expected)
    after = stamps(out)
    assert {name: after[name] for name in whole} == {name: before[name] for name in whole}
    assert sorted(after) == sorted([RECORD_FILE, *(file.name for file in files)])

    # Nothing is left to do: not even the shuffle.
    write_joined(planned(data, 2 * LITTLE, tmp_path / "unused"), unchanged, out, "local", silent)
    assert stamps(out) == after
    assert not (tmp_path / "unused").exists()


def test_other_inputs_replace_a_result(tmp_path: Path) -> None:
    write_tables(tmp_path / "data")
    out = tmp_path / "out"
    many = write_joined(planned(tmp_path / "data", LITTLE, tmp_path / "work"), unchanged, out, "local", silent)
    shop = {"event_timestamp": times([0]), "discount": [0.125]}
    pq.write_table(pa.table(shop), tmp_path / "data" / "shop.parquet")
    files = write_joined(planned(tmp_path / "data", PLENTY), unchanged, out, "local", silent)
    assert len(many) > len(files) == 1
    assert sorted(file.name for file in out.iterdir()) == [RECORD_FILE, "part-00000.parquet"]
    assert set(read(files)["discount"].to_pylist()) == {0.125}

    smaller = planned(tmp_path / "data", LITTLE, tmp_path / "work2")
    files = write_joined(smaller, unchanged, out, "local", silent)  # one bucket would break this budget
    assert len(files) == smaller.plan.buckets > 1
    assert read(files).num_rows == ROWS
    assert inputs_identity(TableRows(pa.table({"a": [1]})), []) != inputs_identity(TableRows(pa.table({"a": [2]})), [])


def test_a_folder_with_other_files_is_refused(data: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "mine.parquet")
    with pytest.raises(StorageError) as caught:
        write_joined(planned(data, PLENTY), unchanged, tmp_path, "local", silent)
    assert "other Parquet files" in str(caught.value)
    assert "mine.parquet" in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.parquet"]


@pytest.mark.parametrize("views", ["users", "shop", "both", "none"])
def test_a_budget_too_small_names_one_that_works(data: Path, tmp_path: Path, views: str) -> None:
    spine = ParquetRows.of(data / "spine.parquet")
    random = np.random.default_rng(1)
    rows = 50_000
    wide = {"event_timestamp": times(random.integers(0, 10**6, rows)), "discount": random.normal(size=rows)}
    pq.write_table(pa.table(wide), tmp_path / "shop.parquet")
    chosen = {
        "users": [user_view(data)],
        "shop": [shop_view(tmp_path)],
        "both": [user_view(data), shop_view(tmp_path)],
        "none": [],
    }[views]
    with pytest.raises(ConfigError) as caught:
        new_join(spine, chosen, "at", budget=100_000, folder=tmp_path)
    message = str(caught.value)
    assert "too small to work" in message
    assert "100 kB" in message
    needed = TypeAdapter(ByteSize).validate_python(re.search(r"at least ([\d.e+]+ \w+)", message)[1])  # type: ignore[index]
    join = new_join(spine, chosen, "at", budget=int(needed), folder=tmp_path / "work", identity="needed")
    result = in_memory(join)
    assert result.equals(in_memory(new_join(spine, chosen, "at", budget=PLENTY, folder=None)))
    with pytest.raises(ConfigError):
        new_join(spine, chosen, "at", budget=int(needed * 0.9), folder=tmp_path)


def refusal(kind: type[UserError], data: Path, view: JoinView, spine: Any = None) -> str:
    rows = ParquetRows.of(data / "spine.parquet") if spine is None else TableRows(spine)
    with pytest.raises(kind) as caught:
        new_join(rows, [view], "at", budget=PLENTY, folder=None)
    assert type(caught.value) is kind
    return str(caught.value)


def test_a_source_that_cannot_be_read(data: Path, tmp_path: Path) -> None:
    message = refusal(FeatureStoreError, data, user_view(data, path=str(tmp_path / "none.parquet")))
    assert "source of feature view 'users' cannot be read" in message
    assert "none.parquet" in message
    assert "no such Parquet file" in message

    (tmp_path / "text.parquet").write_text("user_id,score\n1,2\n")
    message = refusal(FeatureStoreError, data, user_view(data, path=str(tmp_path / "text.parquet")))
    assert "ArrowInvalid" in message
    assert "Parquet" in message

    cut = (data / "users.parquet").read_bytes()[:-100]
    (tmp_path / "cut.parquet").write_bytes(cut)
    assert "cannot be read" in refusal(FeatureStoreError, data, user_view(data, path=str(tmp_path / "cut.parquet")))

    folder = tmp_path / "folder"
    folder.mkdir()
    pq.write_table(pa.table({"user_id": [1]}), folder / "a.parquet")
    pq.write_table(pa.table({"user_id": ["one"]}), folder / "b.parquet")
    message = refusal(FeatureStoreError, data, user_view(data, path=str(folder)))
    assert "columns of different types" in message
    assert "int64 vs string" in message


def test_a_source_of_wrong_columns(data: Path) -> None:
    message = refusal(FeatureStoreError, data, user_view(data, columns=(("scores", "scores"),)))
    assert "no column 'scores'" in message
    assert "did you mean 'score'?" in message
    message = refusal(FeatureStoreError, data, user_view(data, timestamp_field="happened"))
    assert "no column 'happened'" in message
    message = refusal(FeatureStoreError, data, user_view(data, timestamp_field="score"))
    assert "'score' of feature view 'users' holds no times" in message
    assert "type double" in message
    message = refusal(FeatureStoreError, data, user_view(data, created="name"))
    assert "'name' of feature view 'users' holds no times" in message


def test_a_key_of_another_type(data: Path) -> None:
    message = refusal(DataError, data, user_view(data, keys=(("name", "user_id"),)))
    assert "'user_id' has another type in the spine than in feature view 'users'" in message
    assert "int64 in the spine, string in the view" in message
    spine = pq.read_table(data / "spine.parquet")
    message = refusal(DataError, data, user_view(data), spine.rename_columns(["user", "at", "noise"]))
    assert "no join key 'user_id'" in message
    assert "did you mean 'user'?" in message
    broken = spine.set_column(0, "user_id", pa.array([0.5] * ROWS))
    with pytest.raises(DataError, match="no 64-bit integer") as caught:
        in_memory(new_join(TableRows(broken), [user_view(data)], "at", budget=PLENTY, folder=None))
    assert "key 'user_id' of the spine" in str(caught.value)
    large = spine.set_column(0, "user_id", pa.array(np.full(ROWS, 2**64 - 1, np.uint64)))
    with pytest.raises(DataError, match="no 64-bit integer"):
        in_memory(new_join(TableRows(large), [user_view(data)], "at", budget=PLENTY, folder=None))


def test_columns_twice_in_the_spine(data: Path, tmp_path: Path) -> None:
    spine = pq.read_table(data / "spine.parquet")
    for name in ("user_id", "noise"):
        twice = spine.append_column(name, spine[name])
        message = refusal(DataError, data, user_view(data), twice)
        assert f"2 columns named '{name}'" in message
        pq.write_table(twice, tmp_path / "twice.parquet")
        with pytest.raises(DataError, match=f"2 columns named '{name}'"):
            new_join(entity_rows(tmp_path / "twice.parquet", tmp_path), [user_view(data)], "at", budget=9, folder=None)
    frame = pd.DataFrame([[1, 2]], columns=["user_id", "user_id"])
    with pytest.raises(DataError, match="Duplicate column names"):
        entity_rows(frame, tmp_path)


def test_a_spine_without_times(data: Path) -> None:
    spine = pq.read_table(data / "spine.parquet")
    message = refusal(DataError, data, user_view(data), spine.set_column(1, "at", pa.array([0] * ROWS)))
    assert "spine's column 'at' holds no times" in message
    with pytest.raises(DataError, match="no column 'event_timestamp'") as caught:
        time_column(pa.schema([("user_id", pa.int64()), ("a", pa.timestamp("us")), ("b", pa.timestamp("us"))]))
    assert "timestamps a, b" in str(caught.value)


@pytest.mark.parametrize(
    "entities",
    ["SELECT user_id, at FROM spine WHERE at > '2026-01-01'", "/no/such/folder", 7, {"user_id": [1]}],
)
def test_entity_frames_of_no_known_kind(entities: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        entity_rows(entities, tmp_path)
    message = str(caught.value)
    assert "entity_df" in message
    if isinstance(entities, str):
        assert "no such Parquet file" in message
        assert "SQL is not understood" in message
    else:
        assert type(entities).__name__ in message


def test_text_that_is_no_time(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="text that is no time"):
        entity_rows(pd.DataFrame({"user_id": [1], "event_timestamp": ["yesterday"]}), tmp_path)
    with pytest.raises(DataError, match="entity frame cannot be read"):
        entity_rows(pd.DataFrame({"user_id": [1, "a"]}), tmp_path)


def test_integers_that_do_not_fit_the_floats_of_another_file(data: Path, tmp_path: Path) -> None:
    columns = pq.read_table(data / "users.parquet").slice(0, 2)
    large = columns.set_column(2, "score", pa.array([2**53 + 1, 1]))
    pq.write_table(columns, tmp_path / "a.parquet")
    pq.write_table(large, tmp_path / "b.parquet")
    message = refusal(DataError, data, user_view(data, path=str(tmp_path)))
    assert "cannot be united without loss" in message
    assert "column score" in message


def test_sources_that_feast_cannot_tell(tmp_path: Path) -> None:
    from feast import Entity, FeatureView, Field, FileSource
    from feast.data_format import DeltaFormat
    from feast.types import Float64
    from feast.value_type import ValueType

    from mtl_ray.data.feast_views import join_view

    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
    fields = [Field(name="score", dtype=Float64)]

    def view(source: Any) -> Any:
        return FeatureView(name="users", entities=[user], schema=fields, source=source)

    with pytest.raises(FeatureStoreError, match="has no timestamp field"):
        join_view(view(FileSource(name="s", path=str(tmp_path))), ["score"], None)
    delta = FileSource(name="s", path=str(tmp_path), timestamp_field="t", file_format=DeltaFormat())
    with pytest.raises(FeatureStoreError, match="does not read Parquet files"):
        join_view(view(delta), ["score"], None)
