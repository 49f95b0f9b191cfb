"""The point-in-time join on two Ray nodes, one of which is lost in the middle: the same rows, nothing done twice."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

# Two raylets in a process of their own: the Ray of the other tests keeps running. A piece on the doomed node waits for
# the node's end, so that the kill always comes in the middle of a piece, after another one of that node has finished.
DRIVER = """
import json, sys, threading, time
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq, ray
from ray.cluster_utils import Cluster
from mtl_ray.data.join import progress, run
from mtl_ray.data.join.parquet_rows import ParquetRows
from mtl_ray.data.join.results import write_joined
from tests.fault.test_join_faults import LITTLE, silent, unchanged, user_view, write_tables

root = Path(sys.argv[1])
write_tables(root)
progress.SECONDS_BETWEEN = 0
whole = run.join_partition

def join_of(folder):
    spine = ParquetRows.of(root / "spine.parquet")
    return run.new_join(spine, [user_view(root)], "at", budget=LITTLE, folder=folder, identity=str(folder))

def wait_if_doomed(doomed, marks):
    if ray.get_runtime_context().get_node_id() != doomed:
        return
    if not (marks / "one is done").exists():
        (marks / "one is done").touch()
        return
    (marks / "running").touch()
    while True:
        time.sleep(0.02)

def states(folder):
    files = [file for file in folder.rglob("*") if file.suffix in (".arrow", ".parquet") and file.name[0] != "."]
    return {str(file.relative_to(folder)): (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}

def lose(node, marks, folder, standing):
    while not (marks / "running").exists():
        time.sleep(0.02)
    standing.update(states(folder))
    cluster.remove_node(node, allow_graceful=False)

def joined_while_a_node_is_lost(stage):
    folder, marks, said, standing = root / stage, root / f"marks of {stage}", [], {}
    marks.mkdir()
    node = cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
    cluster.wait_for_nodes()
    doomed = node.node_id

    def partition(join, piece):
        wait_if_doomed(doomed, marks)
        return whole(join, piece)

    def finish(table):
        wait_if_doomed(doomed, marks)
        return table

    run.join_partition = partition if stage == "partitions" else whole
    killer = threading.Thread(target=lose, args=(node, marks, folder, standing))
    killer.start()
    join = join_of(folder / "work")
    files = write_joined(join, finish if stage == "buckets" else unchanged, folder / "out", "ray", said.append)
    killer.join()
    after = states(folder)
    shuffle = join.plan.shuffles[0]
    return {
        "same": pa.concat_tables([pq.read_table(file) for file in files]).equals(expected),
        "partitions": shuffle.partitions,
        "buckets": join.plan.buckets,
        "standing": sorted(standing),
        "kept": [name for name, state in standing.items() if after[name] == state],
        "left": sorted(path.name for path in (folder / "out").iterdir() if path.name[0] == "."),
        "said": said,
    }

expected = pa.concat_tables(list(run.joined_buckets(join_of(root / "local"), unchanged, silent)))
cluster = Cluster(
    initialize_head=True,
    head_node_args={"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False},
)
try:
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    outcome = {stage: joined_while_a_node_is_lost(stage) for stage in ("partitions", "buckets")}
    (root / "outcome.json").write_text(json.dumps(outcome))
finally:
    ray.shutdown()
    cluster.shutdown()
"""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("two_nodes")
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment |= {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "-c", DRIVER, str(root)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads((root / "outcome.json").read_text()), stderr=done.stderr)


@pytest.mark.parametrize("stage", ["partitions", "buckets"])
def test_a_join_survives_the_loss_of_a_node(outcome: dict[str, Any], stage: str) -> None:
    join = outcome[stage]
    assert join["same"]
    partitions = [name for name in join["standing"] if "/joined/" in name]
    buckets = [name for name in join["standing"] if name.startswith("out/")]
    if stage == "partitions":
        assert 1 <= len(partitions) < join["partitions"]  # it was lost in the middle of this stage
        assert not buckets
    else:
        assert len(partitions) == join["partitions"]
        assert 1 <= len(buckets) < join["buckets"]
    assert join["kept"]
    assert sorted(join["kept"]) == join["standing"]  # nothing that was finished was written again
    assert join["left"] == []


@pytest.mark.parametrize("stage", ["partitions", "buckets"])
def test_no_piece_is_counted_twice(outcome: dict[str, Any], stage: str) -> None:
    counts: dict[str, list[int]] = {}
    for sentence in outcome[stage]["said"]:
        told = re.fullmatch(r"(.+): ([\d,]+) of ([\d,]+) rows; about .+ left for the whole join", sentence)
        assert told is not None
        name, done, total = told[1], int(told[2].replace(",", "")), int(told[3].replace(",", ""))
        assert done <= total
        counts.setdefault(name, []).append(done)
    assert len(counts) == 4
    for rising in counts.values():
        assert rising == sorted(set(rising))


def test_ray_says_nothing_but_warnings(outcome: dict[str, Any]) -> None:
    assert " INFO " not in outcome["stderr"]
    assert "Running" not in outcome["stderr"]
