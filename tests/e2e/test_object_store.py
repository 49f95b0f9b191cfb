"""Everything in an S3 bucket: built, trained, the driver killed, resumed through an outage, evaluated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml

from mtl_ray import storage
from mtl_ray.checkpoint import load_checkpoint
from mtl_ray.config import parse_config
from mtl_ray.data.snapshot import open_snapshot
from mtl_ray.errors import SnapshotError
from mtl_ray.run_folder import RunFolder
from mtl_ray.training.launch import train
from tests.forwarder import Forwarder
from tests.s3_server import SECRET, S3Server, client, s3_server

ROOT = Path(__file__).parents[2]
EPOCHS = 3


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_the_main_job_in_a_bucket(shop: Any, server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = f"s3://{server.bucket}/shop"
    spine = storage.below(place, "spine")
    training = {**shop.config["training"], "epochs": EPOCHS, "checkpoint_every": 8, "log_every": 1, "max_failures": 3}
    fusion = {
        "weights": {"click": 1.0, "purchase": 1.0},
        "tune": {"metric": "validation/click/gauc", "trials": 8},
    }
    config = {**shop.config, "training": training, "fusion": fusion}
    undisturbed = train(parse_config(config), lambda _: None, lambda _: None)
    for name, value in {**server.environment, storage.CACHE: str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    storage.upload(Path(config["training_set"]["spine"]), spine)
    path = tmp_path / "config.yaml"
    training_set = {**config["training_set"], "spine": spine}
    path.write_text(yaml.safe_dump({**config, "storage": place, "training_set": training_set}, sort_keys=False))

    command = [sys.executable, "jobs/train.py", "--config", str(path), "--resume", "auto"]
    told = killed_after("epoch 1 ", command, shop)
    assert "sending the training set to s3://bucket/shop/training_sets/" in told
    with Forwarder(int(server.endpoint.rsplit(":", 1)[1])) as forwarder:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{forwarder.port}")
        with started(command, shop) as job:
            assert job.stderr is not None
            told = ""
            for line in job.stderr:
                told += line
                if "workers are ready" in line:
                    forwarder.cut(seconds=4)
            out = job.stdout.read() if job.stdout is not None else ""
        assert job.returncode == 0, told
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    assert "going on with s3://bucket/shop/small-" in told
    assert "going on after step" in told
    assert "found the training set" in told
    result = json.loads(out)
    assert result["run"].startswith(place)
    assert result["training_set"].startswith(f"{place}/training_sets/")

    run = RunFolder.open(f"{place}/latest")
    assert run.place == result["run"]
    first = load_checkpoint(undisturbed.run.checkpoint("last"))
    second = load_checkpoint(run.checkpoint_place(run.summary()["checkpoints"]["last"]))
    assert second.position == first.position
    for name, tensor in first.weights.items():
        assert torch.equal(tensor, second.weights[name]), name

    score = load_checkpoint(undisturbed.run.checkpoint("best")).fusion
    assert score is not None
    assert load_checkpoint(run.checkpoint_place(run.summary()["checkpoints"]["best"])).fusion == score

    evaluated = subprocess.run(
        [sys.executable, "jobs/evaluate.py", "--run", f"{place}/latest"],
        cwd=ROOT, env=environment(shop), capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert evaluated.returncode == 0, evaluated.stderr
    names = storage.sizes(run.place)
    assert {"report.html", "summary.json", "metrics.jsonl", "evaluation/test.json"} <= set(names)
    assert json.loads(storage.read_bytes(storage.below(run.place, "evaluation/test.json")))["score"] is not None
    assert b"<html" in storage.read_bytes(storage.below(run.place, "report.html"))
    assert not holders_of_the_secret(server)
    assert SECRET not in told + out + evaluated.stdout + evaluated.stderr

    shards = open_snapshot(result["training_set"], verify=True).files("test")
    storage.write_bytes(
        shards[0][0], b"x" * storage.sizes(result["training_set"])["test/" + shards[0][0].rsplit("/")[-1]]
    )
    with pytest.raises(SnapshotError, match="damaged"):
        open_snapshot(result["training_set"], verify=True)


def environment(shop: Any) -> dict[str, str]:
    return {**shop.environment, **{name: os.environ[name] for name in os.environ if name.startswith(("AWS_", "MTL_"))}}


def started(command: list[str], shop: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, cwd=ROOT, env=environment(shop), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def killed_after(words: str, command: list[str], shop: Any) -> str:
    """Start the job and kill it with all its processes once it says `words` of a whole epoch."""
    with started(command, shop) as job:
        assert job.stderr is not None
        told = ""
        for line in job.stderr:
            told += line
            if line.startswith(words) and "validation loss" in line:
                break
        for process in [*psutil.Process(job.pid).children(recursive=True), psutil.Process(job.pid)]:
            process.kill()
    assert job.returncode < 0, told
    return told


def holders_of_the_secret(server: S3Server) -> list[str]:
    """Objects in which the secret key stands."""
    s3 = client(server)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=server.bucket)
    keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
    assert len(keys) > 20
    return [key for key in keys if SECRET.encode() in s3.get_object(Bucket=server.bucket, Key=key)["Body"].read()]
