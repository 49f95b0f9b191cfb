"""Two towers beside every architecture: the contract holds with them, and what is shared is the embedding table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from mtl_ray.batch import Batch
from mtl_ray.errors import ConfigError
from mtl_ray.models import ModelConfig, MultiTaskModel
from mtl_ray.models.encoders import FeatureEncoderConfig
from mtl_ray.models.next_item import check_two_towers
from mtl_ray.models.settings import ModelSettings
from mtl_ray.models.sharing import SharedBottomConfig, SingleTaskConfig
from mtl_ray.schema import BatchSchema
from mtl_ray.tasks import NextItemTaskConfig
from mtl_ray.tasks.losses import normalise, task_losses
from tests.random_batch import RICH_SCHEMA, part_of, rich_batch
from tests.unit.models import test_contract as contract
from tests.unit.models import test_export as export
from tests.unit.models.cases import GATED, Case, gradients, name_of
from tests.unit.models.next_item_set import NEXT, next_item_set_of, with_next_item
from tests.unit.models.task_sets import PLAIN, SERIAL

MEMBERS: tuple[type[ModelSettings], ...] = get_args(get_args(ModelConfig)[0])
CASES = {name_of(member()): Case(member(), next_item_set_of(member())) for member in MEMBERS}
every_architecture = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
CONTRACT: tuple[Callable[[Case], None], ...] = (
    contract.test_logits_have_one_column_an_output_of_the_task,
    contract.test_what_training_adds_to_the_logits_bears_no_task_s_name,
    contract.test_a_row_is_scored_alone,
    contract.test_every_parameter_learns,
    contract.test_without_any_label_losses_and_gradients_are_zero,
    contract.test_auxiliary_losses_bear_their_names,
    contract.test_state_dict_round_trip,
    contract.test_the_same_seed_gives_the_same_weights,
    contract.test_float64_and_determinism,
    contract.test_weight_decay_spares_biases_and_norms,
    contract.test_tasks_of_another_schema_are_refused,
    export.test_export_with_any_number_of_rows,
)
ONLY = BatchSchema.model_validate({**PLAIN.schema.model_dump(), "tasks": ("next",)})


def build_rich(encoder: dict[str, object], task: NextItemTaskConfig) -> MultiTaskModel:
    torch.manual_seed(0)
    tasks = with_next_item(PLAIN, task).tasks()
    config = SharedBottomConfig(bottom=(8,), encoder=FeatureEncoderConfig.model_validate(encoder))
    return config.build(RICH_SCHEMA.model_copy(update={"tasks": tuple(tasks)}), tasks).double().eval()


def projected(logits: Tensor) -> Tensor:
    """A number that depends on every direction of the logits: unit vectors have a constant square."""
    return logits @ torch.linspace(0.5, 2.0, logits.shape[1], dtype=logits.dtype)


@every_architecture
@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__.removeprefix("test_"))
def test_the_contract_holds_with_two_towers(check: Callable[[Case], None], case: Case) -> None:
    check(case)


@every_architecture
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_a_batch_without_or_of_nothing_but_queries(case: Case, label: float) -> None:
    contract.test_a_batch_of_one_class_has_finite_losses_and_gradients(case, label)


@every_architecture
def test_shared_and_task_parameters_are_what_several_tasks_or_one_reach(case: Case) -> None:
    model = case.build().double().eval()
    batch = case.set.batch(256, dtype=torch.float64)
    reached: dict[str, set[str]] = {name: set() for name, _ in model.named_parameters()}
    for task in case.set.schema.tasks:
        for name, grad in gradients(model, projected(model(batch)[task]).square().sum()).items():
            if torch.count_nonzero(grad) > 0:
                reached[name].add(task)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    shared = [names[id(parameter)] for parameter in model.shared_parameters()]
    own = {task: [names[id(p)] for p in model.task_parameters(task)] for task in case.set.schema.tasks}
    every = [*shared, *(name for part in own.values() for name in part)]
    assert sorted(every) == sorted(reached)
    assert all(len(reached[name]) > 1 for name in shared)
    for task, part in own.items():
        assert all(reached[name] == {task} or "imputation" in name for name in part)
    table = "two_towers.task_next.embedding.weight"
    if name_of(case.config) == "single_task":
        assert not shared
        assert table in own["next"]
    else:
        assert "next" in reached["encoders.0.embedding.weight"]
        assert table not in reached


@every_architecture
def test_the_other_tasks_are_as_without_it(case: Case) -> None:
    plain = Case(case.config, SERIAL if "purchase" in case.set.schema.tasks else PLAIN)
    with_it, without = case.build(), plain.build()
    found = with_it.state_dict()
    for key, value in without.state_dict().items():
        assert torch.equal(found[key], value)
    batch = case.set.batch(64)
    place = [case.set.schema.tasks.index(task) for task in plain.set.schema.tasks]
    narrow = replace(batch, labels=batch.labels[:, place], observed=batch.observed[:, place])
    torch.manual_seed(1)
    logits = with_it(batch)
    torch.manual_seed(1)
    expected = without(narrow)
    for task in plain.set.schema.tasks:
        assert torch.equal(logits[task], expected[task])
    added = with_it.auxiliary_losses(batch, logits)
    for name, loss in without.auxiliary_losses(narrow, expected).items():
        assert torch.equal(added[name].sum, loss.sum)
        assert torch.equal(added[name].weight, loss.weight)


@pytest.mark.parametrize("name", ["single_task", "mmoe"])
def test_regularised_with_batch_norm(name: str) -> None:
    member = type(CASES[name].config)
    config = member.model_validate(
        {"norm": "batch", "dropout": 0.1, "encoder": {"embedding_l2": 0.1}, **(GATED if name == "mmoe" else {})}
    )
    case = Case(config, with_next_item(PLAIN))
    contract.test_every_parameter_learns(case)
    model = case.build()
    batch = case.set.batch(16)
    table = model.two_towers["task_next"].embedding
    grads = gradients(model, model.auxiliary_losses(batch, model(batch))["embedding_l2"].sum)
    assert (table is not None) == (name == "single_task")
    if table is not None:
        assert torch.count_nonzero(grads["two_towers.task_next.embedding.weight"]) > 0


@pytest.mark.parametrize("name", ["single_task", "shared_bottom"])
def test_vectors_have_length_one_and_the_id_is_the_vocabulary_s(name: str) -> None:
    case = CASES[name]
    batch = case.set.batch(9)
    logits = case.build().eval()(batch)["next"]
    user, item, item_id = logits.split([6, 6, 1], dim=1)
    for vector in (user, item):
        torch.testing.assert_close(vector.norm(dim=1), torch.ones(9), rtol=0, atol=1e-6)
    assert torch.equal(item_id.squeeze(1), batch.categorical[:, 1].float())


def test_bf16_autocast_keeps_ids_whole_and_vectors_in_float32() -> None:
    case = CASES["shared_bottom"]
    sizes = {**case.set.schema.vocabularies, "item_id": 5000}
    torch.manual_seed(0)
    model = case.config.build(case.set.schema.model_copy(update={"vocabularies": sizes}), case.set.tasks()).eval()
    batch = case.set.batch(9)
    batch = replace(batch, categorical=batch.categorical + torch.tensor([0, 4321, 0, 0], dtype=torch.int32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(batch)["next"]
    assert logits.dtype == torch.float32
    assert torch.equal(logits[:, -1], batch.categorical[:, 1].float())
    torch.testing.assert_close(logits[:, :-1], model(batch)["next"][:, :-1], rtol=0, atol=0.03)


@pytest.mark.parametrize("sequence", ["mean", "attention", "gru", "din", "transformer", "hstu"])
def test_the_user_vector_knows_nothing_of_the_item_and_the_other_way_round(sequence: str) -> None:
    encoder = {"sequences": {"history": {"name": sequence}}}
    if sequence in ("din", "transformer", "hstu"):
        encoder = {"sequences": {"history": {"name": sequence, "target": {"watched": "item_id", "actions": None}}}}
    task = NextItemTaskConfig(
        user=("user_id", "watched", "actions", "last_item"), item=("item_id", "tab", "price", "text"), dim=4
    )
    model = build_rich(encoder, task)
    batch, other = rich_batch(9, dtype=torch.float64), rich_batch(9, seed=7, dtype=torch.float64)
    from_user = replace(
        other,
        categorical=torch.stack(
            [batch.categorical[:, 0], *other.categorical.T[1:2], batch.categorical[:, 2], other.categorical[:, 3]], 1
        ),
        lists={**other.lists, "watched": batch.lists["watched"], "actions": batch.lists["actions"]},
        ages=batch.ages,
    )
    one, two = (model(rows)["next"] for rows in (batch, from_user))
    torch.testing.assert_close(one[:, :4], two[:, :4], rtol=0, atol=0)
    assert not torch.allclose(one[:, 4:8], two[:, 4:8])
    from_item = replace(
        other,
        categorical=torch.stack(
            [other.categorical[:, 0], batch.categorical[:, 1], other.categorical[:, 2], batch.categorical[:, 3]], 1
        ),
        numeric=batch.numeric,
        vectors=batch.vectors,
    )
    three = model(from_item)["next"]
    torch.testing.assert_close(one[:, 4:], three[:, 4:], rtol=0, atol=0)
    assert not torch.allclose(one[:, :4], three[:, :4])
    # The click may well read the history with the candidate in view.
    assert "encoders.0.embedding.weight" in gradients(model, model(batch)["click"].sum())


def test_a_history_is_read_with_the_newest_of_the_user_s_own_items_as_target() -> None:
    encoder = {"sequences": {"history": {"name": "din", "target": {"watched": "last_item", "actions": None}}}}
    model = build_rich(encoder, NextItemTaskConfig(user=("watched", "actions", "last_item"), item=("item_id",)))
    names = [name for name, _ in model.named_parameters() if name.startswith("two_towers.task_next.user")]
    assert any("histories.0.encoder.unit" in name for name in names)


def test_the_table_stands_once_in_a_checkpoint() -> None:
    case = CASES["shared_bottom"]
    model, other = case.build(0).eval(), case.build(1).eval()
    other.load_state_dict(load(save(model.state_dict())))
    batch = case.set.batch(9)
    assert torch.equal(model(batch)["next"], other(batch)["next"])
    tables = [name for name, value in model.state_dict().items() if "embedding" in name]
    assert tables == ["encoders.0.embedding.weight"]


def test_compile() -> None:
    case = CASES["shared_bottom"]
    model = case.build().eval()
    batch = case.set.batch(9)
    found = torch.compile(model, fullgraph=True, backend="aot_eager")(batch)
    for task, expected in model(batch).items():
        torch.testing.assert_close(found[task], expected, rtol=1e-5, atol=1e-6)


def test_next_item_alone_is_a_single_task_model() -> None:
    torch.manual_seed(0)
    tasks = {"next": with_next_item(PLAIN).tasks()["next"]}
    model = SingleTaskConfig(tower=(8,)).build(ONLY, tasks)
    whole = with_next_item(PLAIN).batch(64)
    batch = replace(whole, labels=whole.labels[:, 1:2], observed=whole.observed[:, 1:2])
    sums, weights, _ = task_losses(model(batch), batch, tasks)
    grads = gradients(model, normalise(sums, weights, world_size=1).sum())
    assert set(grads) == {name for name, _ in model.named_parameters()}
    assert model.representation(batch).shape == (64, 0)
    assert model.gates(batch) == {}
    assert model.shared_parameters() == []
    assert len(model.embedding_parameters()) == 1
    with pytest.raises(ConfigError, match=r"shared_bottom has no task(.|\n)*model\.name=single_task"):
        SharedBottomConfig().build(ONLY, tasks)


@pytest.mark.parametrize(
    ("fields", "where", "message"),
    [
        ({"user": ("user_ids",)}, "tasks.next.user", "did you mean user_id?"),
        ({"item": ("item_id", "tabz")}, "tasks.next.item", "did you mean tab"),
        ({"item": ("price", "item_id")}, "tasks.next.item", "write item_id first"),
        ({"item": ("price",)}, "tasks.next.item", "put the item's id first"),
    ],
)
def test_features_that_do_not_fit_are_refused(fields: dict[str, object], where: str, message: str) -> None:
    task = NextItemTaskConfig.model_validate({"user": ("user_id",), "item": ("item_id",), **fields})
    with pytest.raises(ConfigError) as caught:
        check_two_towers("next", task, PLAIN.schema)
    assert f"where:   {where}" in str(caught.value)
    assert message in str(caught.value)


def test_more_items_than_float32_can_count_are_refused() -> None:
    sizes = {**PLAIN.schema.vocabularies, "item_id": (1 << 24) + 1}
    check_two_towers("next", NEXT, PLAIN.schema)
    with pytest.raises(ConfigError, match=r"16,777,217 ids(.|\n)*max_vocabulary"):
        check_two_towers("next", NEXT, PLAIN.schema.model_copy(update={"vocabularies": sizes}))


def test_rows_are_scored_alone_in_a_rich_model() -> None:
    model = build_rich({}, NextItemTaskConfig(user=("user_id", "watched"), item=("item_id", "text"), dim=4))
    batch: Batch = rich_batch(9, dtype=torch.float64)
    torch.testing.assert_close(
        model(batch)["next"][2:5], model(part_of(batch, slice(2, 5)))["next"], rtol=0, atol=1e-12
    )
