"""The configs that the manifests mount are configs of this repository, and say the same wherever they lie."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from mtl_ray.config import load_config
from mtl_ray.tuning.load import load_space
from tests.k8s.conftest import OVERLAYS
from tests.k8s.objects import K8S, Object, config_map, ray_jobs, render

PLACES = {("storage",), ("features", "repo"), ("training_set", "spine")}
"""Keys that say where things lie."""


def without_places(config: Any) -> dict[str, Any]:
    """The resolved config without the keys that say where things lie and without the truth of simulated data."""
    tree: dict[str, Any] = config.model_dump(mode="json")
    for *parents, leaf in PLACES:
        node = tree
        for step in parents:
            node = node[step]
        del node[leaf]
    tree["evaluation"]["truth"] = None
    return tree


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_mounted_config_is_the_main_job(overlays: dict[str, list[Object]], overlay: str, tmp_path: Path) -> None:
    (tmp_path / "mounted.yaml").write_text(config_map(overlays[overlay], "training-config")["ecommerce_mmoe.yaml"])
    main = load_config(K8S.parent / "jobs/configs/ecommerce_mmoe.yaml")
    assert without_places(load_config(tmp_path / "mounted.yaml")) == without_places(main)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_mounted_space_is_the_main_job_s(overlays: dict[str, list[Object]], overlay: str) -> None:
    mounted = config_map(overlays[overlay], "training-config")["search_space.yaml"]
    assert yaml.safe_load(mounted) == yaml.safe_load((K8S.parent / "jobs/configs/ecommerce_space.yaml").read_text())


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_entrypoint_makes_a_config(overlays: dict[str, list[Object]], overlay: str, tmp_path: Path) -> None:
    texts = config_map(overlays[overlay], "training-config")
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    for where, _, job in ray_jobs(overlays[overlay]):
        words = shlex.split(job["entrypoint"])
        options = dict(zip(words[3::2], words[4::2], strict=False))
        config = Path(options["--config"])
        assert config.name in texts, where
        overrides = [word for word in words if "=" in word and not word.startswith("-")]
        loaded = load_config(tmp_path / config.name, overrides)
        assert loaded.training.use_gpu == bool(overrides)
        if "--space" in words:
            assert load_space(tmp_path / Path(options["--space"]).name).space


def test_the_places_of_an_object_store(overlays: dict[str, list[Object]]) -> None:
    config = yaml.safe_load(config_map(overlays["prod"], "training-config")["ecommerce_mmoe.yaml"])
    assert config["storage"].startswith("s3://")
    assert config["training_set"]["spine"].startswith("s3://")
    assert config_map(overlays["prod"], "environment")["ECOMMERCE_DATA"].startswith("s3://")


def test_no_pod_of_production_has_the_base_storage_left(overlays: dict[str, list[Object]]) -> None:
    assert "/mnt/mtl-ray" not in yaml.safe_dump_all(overlays["prod"])


def test_the_feature_store_is_the_repository_s(monkeypatch: pytest.MonkeyPatch) -> None:
    text = config_map(render(K8S / "base"), "feature-store")["feature_store.yaml"]
    variables = {"POSTGRES_USER": "u", "POSTGRES_PASSWORD": "p", "POSTGRES_HOST": "db", "POSTGRES_DB": "feast"}
    variables |= {"POSTGRES_SSLMODE": "require", "REDIS_HOST": "r", "REDIS_PASSWORD": "q", "REDIS_SSL": "true"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = yaml.safe_load(os.path.expandvars(text))
    local = yaml.safe_load((K8S.parent / "feature_repo/feature_store.yaml").read_text())
    for same in ("project", "entity_key_serialization_version", "offline_store"):
        assert settings[same] == local[same]
    assert settings["registry"]["path"] == "postgresql+psycopg://u:p@db:5432/feast?sslmode=require"
    assert settings["online_store"] == {"type": "redis", "connection_string": "r:6379,password=q,ssl=true"}
