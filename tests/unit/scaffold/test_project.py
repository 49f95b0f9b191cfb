"""Whole projects: what describes an entity and what the row, times, several tables, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from mtl_ray.config import load_config
from mtl_ray.data.feature_store import FeatureRepo
from mtl_ray.errors import UserError
from mtl_ray.scaffold import Scaffold, scaffold

ROOT = Path(__file__).parents[3]
START = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = 400
USERS = 40


def shop(rows: int = ROWS) -> dict[str, Any]:
    """Orders of 40 users: `country` is the user's, `price` the row's, `profit` gives `amount` away."""
    rng = np.random.default_rng(0)
    user = rng.integers(0, USERS, rows)
    amount = rng.lognormal(3.0, 1.0, rows)
    return {
        "User.ID": user,
        "time": [START + timedelta(hours=row) for row in range(rows)],
        "country": [f"land {one % 7}" if one % 5 else None for one in user],
        "born": [START - timedelta(days=9000 + int(one)) for one in user],
        "price": rng.normal(10.0, 2.0, rows),
        "channel": rng.choice(["web", "app", "shop"], rows),
        "shipped": [START + timedelta(hours=row, days=1 + row % 4) for row in range(rows)],
        "profit": amount * 0.2,
        "click": np.where(rng.random(rows) < 0.4, "yes", "no"),
        "amount": amount,
    }


def make(folder: Path, columns: dict[str, Any], *labels: str, **options: Any) -> Scaffold:
    path = folder / "orders.parquet"
    pq.write_table(pa.table(columns), path)
    tables = [path, *options.pop("others", ())]
    return scaffold(tables, folder / "my.Project", labels, jobs=ROOT / "jobs", **options)


def features(written: Scaffold) -> FeatureRepo:
    """The written repository, applied by the command that the scaffold prints."""
    done = subprocess.run(written.commands[0], shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return FeatureRepo(load_config(Path(written.folder) / "config.yaml").features)


def spine(written: Scaffold) -> pa.Table:
    return pq.read_table(f"{written.folder}/data/spine/part-0.parquet")


def test_entity_with_times(tmp_path: Path) -> None:
    written = make(tmp_path, shop(), "click", "amount:regression", entities=["User.ID"], timestamp="time")
    project = written.project
    (view,) = project.views
    assert [column.name for column in view.columns] == ["country", "born_weekday"]
    assert view.table.num_rows == USERS
    assert [column.name for column in project.context if column.used] == [
        "born_age_days",
        "price",
        "channel",
        "time_weekday",
        "time_hour",
    ]
    assert {one["name"]: one["warning"] for one in project.warnings} == {
        "profit": "leak",
        "shipped_age_days": "leak",
        "shipped_weekday": "leak",
        "shipped_hour": "leak",
    }
    table = spine(written)
    assert table["click"].type == pa.int8()
    assert table["event_timestamp"].type == pa.timestamp("us", "UTC")
    first = dict(zip(table["user_id"].to_pylist()[::-1], table["event_timestamp"].to_pylist()[::-1], strict=True))
    assert dict(zip(*(view.table[name].to_pylist() for name in ("user_id", "event_timestamp")), strict=True)) == first
    config = load_config(f"{written.folder}/config.yaml")
    assert config.features.keys == ("user_id",)
    assert config.features.context["channel"] == "categorical"
    assert config.evaluation.group_by == "user_id"
    assert config.training_set.split.by == "time"
    assert config.tasks["amount"].model_dump()["transform"] == "log1p"


def test_no_entity_with_times_joins_each_row_with_itself(tmp_path: Path) -> None:
    columns = shop() | {"recent": [[row % 5, row % 3] for row in range(ROWS)], "model_y": list(range(40)) * 10}
    written = make(tmp_path, columns, "click:binary", timestamp="time")
    repo = features(written)
    assert list(repo.spec.join_keys) == ["example_id"]
    encodings = {feature.name: feature.encoding for feature in repo.spec.features}
    assert encodings["user_id"] == "categorical"
    assert encodings["born_age_days"] == "numeric"
    joined = repo.historical(spine(written).select(["example_id", "event_timestamp"]))
    assert joined["price"].to_pylist() == columns["price"].tolist()
    assert joined["country"].to_pylist() == columns["country"]
    assert joined["recent"].to_pylist() == columns["recent"]
    assert joined["model_y_value"].to_pylist() == columns["model_y"]


def test_feature_tables_are_joined_as_of_their_own_times(tmp_path: Path) -> None:
    orders = {name: values for name, values in shop().items() if name not in ("country", "born")}
    users = {
        "User.ID": [*range(USERS), *range(USERS), None],
        "time": [START] * USERS + [START + timedelta(hours=200)] * USERS + [START],
        "price": [float(one % 9) + 0.5 for one in range(2 * USERS)] + [0.0],
    }
    lands = {"User.ID": list(range(USERS)), "Continent": ["Asia", "Africa"] * 20}
    pq.write_table(pa.table(users), tmp_path / "users.parquet")
    pacsv.write_csv(pa.table(lands), tmp_path / "lands.csv")
    written = make(
        tmp_path,
        orders,
        "click",
        entities=["User.ID"],
        timestamp="time",
        others=[tmp_path / "users.parquet", tmp_path / "lands.csv"],
    )
    assert [view.name for view in written.project.views] == ["users_features", "lands_features"]
    notes = "\n".join(written.project.notes)
    assert "users: 1 rows without a key are left out" in notes
    assert "lands: no time column" in notes
    assert "users: 'price' is called users_price" in notes
    table = spine(written)
    joined = features(written).historical(table.select(["user_id", "event_timestamp"]))
    late = [moment >= START + timedelta(hours=200) for moment in table["event_timestamp"].to_pylist()]
    position = [one + USERS * after for one, after in zip(table["user_id"].to_pylist(), late, strict=True)]
    assert joined["users_price"].to_pylist() == [users["price"][one] for one in position]
    assert joined["continent"].to_pylist() == [lands["Continent"][one] for one in table["user_id"].to_pylist()]


def test_lists_identifiers_and_constants_without_times(tmp_path: Path) -> None:
    columns = {
        "id": np.random.default_rng(1).permutation(10**6)[:ROWS],
        "recent": [[row % 7, row % 3] for row in range(ROWS)],
        "skewed": np.random.default_rng(2).lognormal(0.0, 1.5, ROWS),
        "one": ["1a"] * ROWS,
        "stars": np.arange(ROWS) % 5,
    }
    written = make(tmp_path, columns, "stars:multiclass", keep=["one"])
    assert {column.name: column.encoding for column in written.project.inputs} == {
        "recent": "list",
        "skewed": "numeric",
        "one": "categorical",
    }
    assert '"recent", "skewed", "one"' in Path(f"{written.folder}/feature_repo/feature_services.py").read_text()
    config = load_config(f"{written.folder}/config.yaml")
    assert config.training_set.split.by == "random"
    assert config.training_set.preprocessing.numeric == "log_standard"
    assert config.model.name == "shared_bottom"


def test_an_entity_that_no_column_describes_is_a_column_of_the_row(tmp_path: Path) -> None:
    columns = {name: values for name, values in shop().items() if name in ("User.ID", "price", "click")}
    written = make(tmp_path, columns, "click", entities=["User.ID"])
    config = load_config(f"{written.folder}/config.yaml")
    assert config.features.context == {"user_id": "categorical"}
    assert config.evaluation.group_by == "user_id"
    assert [column.name for column in written.project.inputs] == ["price", "user_id"]
    assert spine(written).column_names == ["user_id", "example_id", "event_timestamp", "click"]


@pytest.mark.parametrize(("rows", "fewest", "most"), [(60, 2, 10), (1313, 20, 60), (20_000, 20, 60), (10**6, 100, 400)])
def test_an_epoch_has_many_steps_whatever_the_number_of_rows(tmp_path: Path, rows: int, fewest: int, most: int) -> None:
    rng = np.random.default_rng(0)
    columns = {"a": rng.normal(size=rows), "b": rng.random(rows) < 0.5}
    written = make(tmp_path, columns, "b:binary")
    training = load_config(f"{written.folder}/config.yaml").training
    steps = -(-int(0.8 * rows) // training.global_batch_size)
    assert fewest <= steps <= most
    assert training.global_batch_size % training.workers.max == 0
    assert training.epochs * steps >= 100 or training.epochs == 30


@pytest.mark.parametrize(
    ("labels", "options", "expected"),
    [
        (["clik"], {}, "did you mean 'click'"),
        (["click:binay"], {}, "did you mean click:binary"),
        ([], {}, "No label is named"),
        (["click", "click"], {}, "named twice"),
        (["click"], {"entities": ["click"]}, "named twice"),
        (["click"], {"entities": ["user_id"]}, "did you mean 'User.ID'"),
        (["click"], {"entities": ["price"]}, "neither an integer nor text"),
        (["click"], {"entities": ["country"]}, "is missing in"),
        (["click"], {"timestamp": "channel"}, "holds no times.\n  where:   --timestamp, table orders\n  found:"),
        (["click"], {"keep": ["profits"]}, "did you mean 'profit'"),
        (["click"], {"others": ["{folder}/alone.csv"]}, "shares no entity with the spine"),
        (["click"], {"others": ["{folder}/double.csv"], "entities": ["User.ID"]}, "several rows for one key"),
        (["click"], {"others": ["{folder}/text.csv"], "entities": ["User.ID"]}, "another type than in the spine"),
    ],
)
def test_what_is_refused_leaves_nothing(
    tmp_path: Path, labels: list[str], options: dict[str, Any], expected: str
) -> None:
    (tmp_path / "alone.csv").write_text("a,b\n1,2\n")
    (tmp_path / "double.csv").write_text("User.ID,b\n1,2\n1,3\n")
    (tmp_path / "text.csv").write_text("User.ID,b\nx,2\n")
    options = {**options, "others": [Path(path.format(folder=tmp_path)) for path in options.get("others", ())]}
    with pytest.raises(UserError) as error:
        make(tmp_path, shop(), *labels, **options)
    assert expected in str(error.value)
    assert not (tmp_path / "my.Project").exists()


def test_nothing_to_learn_from_is_said(tmp_path: Path) -> None:
    columns = {"click": ["yes", "no"] * 50, "same": [1] * 100, "clicked": [1, 0] * 50}
    with pytest.raises(UserError, match="No column is left") as error:
        make(tmp_path, columns, "click")
    assert error.value.found == "same: constant, every row has 1; clicked: leak, copy of label 'click'"


def test_force_replaces_the_project_and_nothing_else(tmp_path: Path) -> None:
    columns = {"a": list(range(7)) * 10, "b": [0, 1] * 35}
    out = Path(make(tmp_path, columns, "b").folder)
    (out / "runs").mkdir()
    (out / "data" / "old.txt").write_text("")
    with pytest.raises(UserError, match="The folder is not empty"):
        make(tmp_path, columns, "b")
    assert (out / "data" / "old.txt").is_file()
    make(tmp_path, columns, "b", force=True)
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "config.yaml", "data", "feature_repo", "runs"]
    assert sorted(path.name for path in (out / "data").iterdir()) == ["features", "spine"]
    inside = out / "data" / "orders.parquet"
    (tmp_path / "orders.parquet").rename(inside)
    with pytest.raises(UserError, match="lies where the project is to be written"):
        scaffold([inside], out, ["b"], force=True, jobs=ROOT / "jobs")
    assert inside.is_file()


def test_a_mistake_ends_the_job_with_status_2(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("a,b\n1,2,3\n")
    job = [sys.executable, ROOT / "jobs" / "scaffold.py", "--table", "orders.csv", "--out", "new", "--label", "b"]
    done = subprocess.run(job, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "orders.csv, line 2" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "new").exists()
