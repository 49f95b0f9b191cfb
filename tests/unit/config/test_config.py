"""Configs: what is refused says which key, what was found and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mtl_ray.config import Config, load_config, parse_config
from mtl_ray.errors import ConfigError

SMALL: dict[str, Any] = {
    "name": "small",
    "features": {"repo": "feature_repo", "service": "s_v1"},
    "training_set": {"spine": "spine", "split": {"by": "time", "validation": 0.1, "test": 0.1}},
    "model": {"name": "mmoe"},
    "tasks": {"click": {"type": "binary"}, "rating": {"type": "multiclass", "classes": [1, 2, 3]}},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return path


def refused(file: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(file, overrides)
    return str(caught.value)


def test_defaults_and_overrides(file: Path) -> None:
    config = load_config(file, ["model.num_experts=3", "tasks.click.weight=2", "training.optimizer.learning_rate=0.1"])
    assert config.model.name == "mmoe"
    assert config.model.num_experts == 3
    assert config.tasks["click"].weight == 2
    assert config.training.optimizer.learning_rate == 0.1


def test_a_resolved_config_reads_back_the_same(file: Path) -> None:
    config = load_config(file, ["model.name=shared_bottom", "training.workers=1"])
    assert parse_config(yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))) == config


def test_another_variant_keeps_what_it_knows_and_warns_of_the_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "config.yaml"
    model = {"name": "mmoe", "num_experts": 4, "tower": [16], "dropout": 0.25}
    path.write_text(yaml.safe_dump({**SMALL, "model": model}))
    config = load_config(path, ["model.name=shared_bottom"])
    assert config.model.name == "shared_bottom"
    assert config.model.tower == (16,)
    assert config.model.dropout == 0.25
    assert "model.name=shared_bottom has no num_experts: left out" in caplog.text


def test_unknown_key(file: Path) -> None:
    message = refused(file, "model.name=mmoe", "model.num_expert=8")
    assert "Unknown config key" in message
    assert "model.num_expert" in message
    assert "did you mean model.num_experts?" in message


def test_unknown_key_of_a_task(file: Path) -> None:
    message = refused(file, "tasks.click.wieght=8")
    assert "tasks.click.wieght" in message
    assert "did you mean tasks.click.weight?" in message


def test_unknown_task_type(file: Path) -> None:
    message = refused(file, "tasks.click.type=binarry")
    assert "Unknown type" in message
    assert "tasks.click.type" in message
    assert "binarry" in message
    assert "multiclass" in message
    assert "did you mean binary?" in message


def test_task_without_type(file: Path) -> None:
    message = refused(file, "tasks.buy.weight=1")
    assert "type is missing" in message
    assert "tasks.buy.type" in message
    assert "regression" in message


def test_missing_key(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in SMALL.items() if key != "features"}))
    assert "A required config key is missing" in refused(path)
    assert "features" in refused(path)


def test_value_of_the_wrong_kind(file: Path) -> None:
    message = refused(file, "training.epochs=many")
    assert "training.epochs" in message
    assert "'many'" in message
    assert "integer" in message


def test_several_problems_are_all_told(file: Path) -> None:
    message = refused(file, "training.epochs=0", "seeed=3")
    assert "training.epochs" in message
    assert "did you mean seed?" in message


def test_global_batch_must_split_evenly(file: Path) -> None:
    message = refused(file, "training.global_batch_size=1000", "training.workers=3")
    assert "1000 is not a multiple of workers 3" in message
    assert "999" in message


def test_a_number_of_workers_is_written_as_one(file: Path) -> None:
    for written in ("3", "{min: 3, max: 3}"):
        config = load_config(file, ["training.global_batch_size=999", f"training.workers={written}"])
        assert config.training.workers.max == config.training.workers.min == 3
        assert config.model_dump(mode="json")["training"]["workers"] == 3


def test_a_range_of_workers(file: Path) -> None:
    config = load_config(file, ["training.global_batch_size=1000", "training.workers={min: 1, max: 3}"])
    assert config.training.workers.elastic
    assert parse_config(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["training.workers={min: 4, max: 2}"], ["training.workers", "min 4 is more than max 2"]),
        (["training.workers={min: 1}"], ["training.workers.max"]),
        (["training.workers={min: 1, most: 2, max: 2}"], ["training.workers.most", "min"]),
        (["training.workers=0"], ["training.workers", "at least 1 worker"]),
        (["training.workers=many"], ["training.workers", "'many'", "{min: 1, max: 4}"]),
        (["training.workers={min: 1, max: 64}", "training.global_batch_size=32"], ["no row for each of 64 workers"]),
        (["training.workers={min: 1, max: 3}", "model.norm=batch"], ["model.norm=batch", "for 3 workers"]),
    ],
)
def test_workers_that_cannot_be(file: Path, overrides: list[str], words: list[str]) -> None:
    message = refused(file, *overrides)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["weighting.name=gradnorm"], ["weighting", "gradnorm"]),
        (["aggregation.name=pcgrad"], ["aggregation", "pcgrad"]),
        (["model.norm=batch"], ["model.norm"]),
        (["training.affinity_every=5"], ["training.affinity_every"]),
    ],
)
def test_what_a_compiled_model_does_not_go_with(file: Path, overrides: list[str], words: list[str]) -> None:
    load_config(file, ["training.compile=true"])
    for value in ("true", "auto"):
        message = refused(file, f"training.compile={value}", *overrides)
        assert all(word in message for word in [*words, f"training.compile={value}"]), message
    assert "partly compiled" in refused(file, "training.compile=auto", "training.profile=true")


def test_unknown_metric(file: Path) -> None:
    message = refused(file, "training.early_stopping.metric=validation/click/auc")
    assert "training.early_stopping.metric" in message
    assert "validation/click/roc_auc" in message


def test_metric_that_is_best_in_the_middle(file: Path) -> None:
    message = refused(file, "training.early_stopping.metric=validation/click/predicted_over_observed")
    assert "Unknown metric for early stopping" in message


@pytest.mark.parametrize(
    ("override", "text"),
    [("training.epochs", "key=value"), ("name.x=1", "below a plain value"), ("a=[", "not valid YAML")],
)
def test_broken_overrides(file: Path, override: str, text: str) -> None:
    assert text in refused(file, override)


def test_broken_files(tmp_path: Path) -> None:
    assert "cannot be read" in refused(tmp_path / "absent.yaml")
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n")
    assert "no mapping" in refused(path)
    path.write_text("a: [")
    assert "not valid YAML" in refused(path)


def test_shipped_configs_are_valid() -> None:
    root = Path(__file__).parents[3]
    configs = [path for path in root.glob("jobs/configs/*.yaml") if not path.stem.endswith("_space")]
    files = [*configs, *root.glob("jobs/examples/*/config.yaml")]
    assert len(files) >= 2
    for path in files:
        assert isinstance(load_config(path), Config)
