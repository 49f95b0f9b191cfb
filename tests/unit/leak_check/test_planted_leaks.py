"""The leak meter where the answer is known: a view that leaks everything, one that cannot leak, one of noise."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtl_ray.config import Config, parse_config
from mtl_ray.data.feature_store import OURS
from mtl_ray.errors import ConfigError, FeatureStoreError
from mtl_ray.leak_check import check_leaks
from mtl_ray.leak_check.result import LeakCheck
from tests.tiny_shop import SETTINGS, apply_repo
from tests.unit.leak_check.planted_shop import ROWS, definitions, planted


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return planted(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def check(config: Config, said: list[str]) -> LeakCheck:
    return check_leaks(config, 100_000, epochs=2, seeds=2, keep=False, say=said.append)


def test_a_label_written_later_is_found(check: LeakCheck) -> None:
    outcome, _, _ = check.views
    assert (outcome.view, outcome.join_keys, outcome.changed, outcome.from_future) == ("outcome", ("order_id",), 1, 1)
    found = outcome.tasks["bought"]
    assert found.verdict == "leak"
    assert found.naive > 0.99
    # The hint alone: a normal variable at distance 1 with standard deviation 2 has an AUC of Phi(1 / sqrt(8)) = 0.638.
    assert found.point_in_time == pytest.approx(0.638, abs=0.06)
    assert found.inflation == pytest.approx(found.naive - found.point_in_time)
    assert found.low < found.inflation < found.high


def test_values_written_before_cannot_leak(check: LeakCheck, said: list[str]) -> None:
    _, hint, _ = check.views
    assert (hint.view, hint.changed, hint.from_future) == ("hint", 0.0, 0.0)
    found = hint.tasks["bought"]
    assert (found.inflation, found.low, found.high, found.verdict) == (0.0, 0.0, 0.0, "none")
    assert any("no leak: hint" in sentence for sentence in said)
    assert not any(sentence.startswith("hint by") for sentence in said)


def test_noise_from_the_future_is_not_called_a_leak(check: LeakCheck) -> None:
    _, _, mood = check.views
    assert (mood.view, mood.changed, mood.from_future) == ("mood", 1.0, 1.0)
    assert mood.tasks["bought"].verdict == "within noise"


def test_all_views_together_and_what_is_left_behind(config: Config, check: LeakCheck) -> None:
    assert check.leaking == ("outcome",)
    assert check.rows == check.spine_rows == ROWS
    assert list(check.together) == ["bought"]  # the regression task has no AUC
    assert check.together["bought"].naive > 0.99
    folder = Path(config.storage) / "leak_check" / "planted"
    assert sorted(file.name for file in folder.iterdir()) == ["leak_check.html", "leak_check.json"]
    assert LeakCheck.model_validate_json((folder / "leak_check.json").read_bytes()) == check
    assert check.page == str(folder / "leak_check.html")


def test_nothing_is_trained_where_no_view_can_leak(config: Config, tmp_path: Path) -> None:
    from feast import FeatureService

    data = Path(config.training_set.spine).parent
    objects = definitions(data)[:-1]
    hint = next(item for item in objects if item.name == "hint")
    apply_repo(tmp_path / "repo", [*objects, FeatureService(name="early_v1", features=[hint])])
    features = config.features.model_copy(update={"repo": str(tmp_path / "repo"), "service": "early_v1"})
    early = config.model_copy(update={"features": features, "storage": str(tmp_path / "runs")})
    said: list[str] = []
    found = check_leaks(early, 1000, epochs=1, seeds=1, keep=True, say=said.append)
    assert 800 < found.rows < 1200
    assert said[-1] == "nothing to train: no view can leak"
    (hint_result,) = found.views
    assert hint_result.tasks["bought"].inflation == found.together["bought"].inflation == 0.0
    assert hint_result.tasks["bought"].naive is None
    assert found.work is not None
    assert (Path(found.work) / "spine" / "part-0.parquet").is_file()


def test_another_offline_store_is_refused_before_anything_is_joined(config: Config, tmp_path: Path) -> None:
    data = Path(config.training_set.spine).parent
    apply_repo(tmp_path / "repo", definitions(data), SETTINGS.replace(OURS, "duckdb"))
    features = config.features.model_copy(update={"repo": str(tmp_path / "repo")})
    other = config.model_copy(update={"features": features, "storage": str(tmp_path / "runs")})
    with pytest.raises(FeatureStoreError, match="Only this package's offline store") as caught:
        check_leaks(other, 1000, epochs=1, seeds=1, keep=False, say=lambda _: None)
    assert "duckdb" in str(caught.value)
    assert OURS in str(caught.value)
    assert list((tmp_path / "runs" / "leak_check" / "planted").iterdir()) == []


def test_a_config_without_a_binary_task_is_refused(config: Config) -> None:
    tree = config.model_dump(mode="json")
    del tree["tasks"]["bought"]
    with pytest.raises(ConfigError, match="ROC-AUC, and no task has one") as caught:
        check_leaks(parse_config(tree), 1000, epochs=1, seeds=1, keep=False, say=lambda _: None)
    assert "amount: regression" in str(caught.value)
