"""What a training takes over from an earlier run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mtl_ray.batch import Batch
from mtl_ray.checkpoint import ModelContext, TrainingPosition, save_checkpoint
from mtl_ray.config import Config, parse_config
from mtl_ray.data.preprocessing import Preprocessing
from mtl_ray.data.vocabularies import Vocabulary
from mtl_ray.errors import ConfigError
from mtl_ray.models import MultiTaskModel
from mtl_ray.schema import BatchSchema, CategoricalFeature, LabelStatistics
from mtl_ray.training.warm_start import earlier_checkpoint, first_weights

ITEMS, USERS = (30, 10, 20), ("b", "a")
TASKS = ("click", "cart")


def context_of(items: tuple[int, ...], users: tuple[str, ...], tasks: tuple[str, ...] = TASKS) -> ModelContext:
    vocabularies = {"user": Vocabulary(values=users), "item": Vocabulary(values=items, unknown_ids=2)}
    categorical = (
        CategoricalFeature(name="user", vocabulary="user"),
        CategoricalFeature(name="item", vocabulary="item"),
    )
    sizes = {name: vocabulary.size for name, vocabulary in vocabularies.items()}
    return ModelContext(
        training_set="some",
        batch_schema=BatchSchema(categorical=categorical, numeric=(), tasks=tasks, vocabularies=sizes),
        preprocessing=Preprocessing(
            vocabularies=vocabularies, categorical=categorical, numeric=(), lists=(), missing={}
        ),
        label_statistics={task: LabelStatistics(observed=100, mean=0.5) for task in tasks},
    )


def config_of(tasks: tuple[str, ...] = TASKS, **model: Any) -> Config:
    return parse_config(
        {
            "name": "small",
            "features": {"repo": "r", "service": "s", "keys": ["user"]},
            "training_set": {"spine": "x", "split": {"by": "random", "validation": 0.1, "test": 0.1}},
            "tasks": {task: {"type": "binary"} for task in tasks},
            "model": {"name": "mmoe", "num_experts": 2, "expert": [4], "tower": [3], **model},
        }
    )


def built(config: Config, context: ModelContext) -> MultiTaskModel:
    tasks = {name: task.build(name, context.label_statistics[name]) for name, task in config.tasks.items()}
    return config.model.build(context.batch_schema, tasks)


def rows(users: list[int], items: list[int], tasks: int) -> Batch:
    number = len(users)
    return Batch(
        categorical=torch.tensor([users, items], dtype=torch.int32).T,
        numeric=torch.zeros(number, 0),
        labels=torch.zeros(number, tasks),
        observed=torch.zeros(number, tasks, dtype=torch.bool),
        sample_weight=torch.ones(number),
        row_id=torch.arange(number),
    )


@pytest.fixture
def earlier(tmp_path: Path) -> tuple[MultiTaskModel, str]:
    """A model whose every row differs, and its checkpoint."""
    config, context = config_of(), context_of(ITEMS, USERS)
    model = built(config, context)
    torch.manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    save_checkpoint(tmp_path, config, context, model.state_dict(), {}, TrainingPosition(epoch=2, batch=0, step=9))
    return model, str(tmp_path)


# Ids: 0 missing, user 1 unknown and 2.. known; item 1 and 2 unknown, 3.. known.
@pytest.mark.parametrize(
    ("items", "users"),
    [((30, 10, 20, 40), ("b", "a", "c")), ((20, 40, 30, 10), ("c", "a", "b"))],
    ids=["grown", "fitted anew"],
)
def test_predictions_are_those_of_the_earlier_model(
    earlier: tuple[MultiTaskModel, str], items: tuple[int, ...], users: tuple[str, ...]
) -> None:
    old, place = earlier
    config, context = config_of(), context_of(items, users)
    new = built(config, context)
    first = first_weights(config, context, place)
    new.load_state_dict(first.weights)
    assert first.anew == first.left == ()
    assert first.new_values == 2

    of_users = {"b": 2, "a": 3, "c": 1}
    of_items = {30: 3, 10: 4, 20: 5}
    hashed = int(
        Vocabulary(values=ITEMS, unknown_ids=2).ids(context.preprocessing.vocabularies["item"]._arrow, "item")[
            items.index(40)
        ]
    )
    of_items[40] = hashed
    now = rows([0, 1, *range(2, 5)], [0, 2, *range(3, 6)], 2)
    then = rows([0, 1, *(of_users[user] for user in users)], [0, 2, *(of_items[item] for item in items[:3])], 2)
    for task, logits in new(now).items():
        torch.testing.assert_close(logits, old(then)[task], rtol=0, atol=0)


def test_a_reused_row_begins_as_a_new_value_and_not_as_the_one_that_was_evicted(
    earlier: tuple[MultiTaskModel, str],
) -> None:
    old, place = earlier
    # c has the id that b had; b is unknown now.
    config, context = config_of(), context_of(ITEMS, ("c", "a"))
    first = first_weights(config, context, place)
    (name,) = [name for name in first.weights if name.endswith("embedding.weight")]
    before, now = old.state_dict()[name], first.weights[name]
    unknown, reused, kept = 1, 2, 3
    assert torch.equal(now[reused], before[unknown])
    assert not torch.equal(now[reused], before[reused])
    assert torch.equal(now[[0, unknown, kept]], before[[0, unknown, kept]])
    assert first.new_values == 1


def test_a_new_task_begins_anew_and_one_that_is_gone_is_named(earlier: tuple[MultiTaskModel, str]) -> None:
    config, context = config_of(("click", "view")), context_of(ITEMS, USERS, ("click", "view"))
    first = first_weights(config, context, earlier[1])
    assert all("task_view" in name for name in first.anew)
    assert all("task_cart" in name for name in first.left)
    assert first.anew
    assert "drawn anew: towers.task_view" in first.in_words()


@pytest.mark.parametrize(
    ("config", "context", "words"),
    [
        (config_of(expert=[5]), context_of(ITEMS, USERS), "another size"),
        (config_of(encoder={"embedding_dim": 4}), context_of(ITEMS, USERS), "another size"),
        (config_of(("cart", "click")), context_of(ITEMS, USERS, ("cart", "click")), "at other places"),
    ],
    ids=["experts", "embeddings", "order of tasks"],
)
def test_what_does_not_fit_is_refused(
    earlier: tuple[MultiTaskModel, str], config: Config, context: ModelContext, words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        first_weights(config, context, earlier[1])
    assert "training.start_from" in str(caught.value)


def test_other_features_are_refused(earlier: tuple[MultiTaskModel, str]) -> None:
    context = context_of(ITEMS, USERS)
    schema = context.batch_schema.model_copy(update={"categorical": context.batch_schema.categorical[::-1]})
    with pytest.raises(ConfigError, match="other features") as caught:
        first_weights(config_of(), context.model_copy(update={"batch_schema": schema}), earlier[1])
    assert "user, item" in str(caught.value)


def test_the_run_is_named_so_that_every_process_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "runs" / "small-1"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("")
    (run / "summary.json").write_text('{"checkpoints": {"best": "checkpoint_1"}}')
    (tmp_path / "runs" / "latest").symlink_to("small-1")
    monkeypatch.chdir(tmp_path)
    config = config_of()
    training = config.training.model_copy(update={"start_from": "runs/latest"})
    place = earlier_checkpoint(config.model_copy(update={"training": training}))
    assert place == str(run.resolve() / "checkpoints" / "checkpoint_1")
