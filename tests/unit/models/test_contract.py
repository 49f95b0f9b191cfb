"""What every architecture of the union keeps to; a new member is tested without being listed here."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mtl_ray.batch import Batch
from mtl_ray.models.settings import ModelSettings
from mtl_ray.optim import OptimizerConfig, build_optimizer
from mtl_ray.tasks.losses import normalise, task_losses
from tests.random_batch import SCHEMA, make_tasks, part_of, random_batch
from tests.unit.models.cases import MEMBERS, Case, each_once, every_model, gradients, name_of


def unlabelled(batch: Batch) -> Batch:
    return replace(batch, observed=torch.zeros_like(batch.observed), labels=torch.zeros_like(batch.labels))


def test_the_union_has_the_architectures() -> None:
    assert {name_of(member.model_construct()) for member in MEMBERS} >= {
        *("single_task", "soft_sharing", "shared_bottom", "hierarchical", "cross_stitch", "snr", "omoe", "mmoe", "cgc"),
        *("ple", "adatt", "stem", "home", "pepnet", "esmm", "escm2", "aitm", "dbmtl"),
    }


@every_model
def test_logits_have_one_column_an_output_of_the_task(case: Case) -> None:
    logits = case.build().eval()(case.set.batch(9))
    assert list(logits) == list(case.set.schema.tasks)
    outputs = {name: task.num_outputs for name, task in case.set.tasks().items()}
    assert {name: tuple(logit.shape) for name, logit in logits.items()} == {n: (9, c) for n, c in outputs.items()}


@each_once
def test_what_training_adds_to_the_logits_bears_no_task_s_name(case: Case) -> None:
    tasks = list(case.set.schema.tasks)
    logits = case.build()(case.set.batch(9))
    assert list(logits)[: len(tasks)] == tasks
    assert all("/" in name for name in list(logits)[len(tasks) :])


@every_model
def test_representation_has_a_vector_a_row(case: Case) -> None:
    model = case.build()
    representation = model.representation(case.set.batch(9))
    assert representation.shape[0] == 9
    assert representation.ndim == 2
    assert (representation.shape[1] > 0) == bool(model.shared_parameters())


@every_model
def test_nothing_below_the_representation_belongs_to_one_task(case: Case) -> None:
    model = case.build().eval()
    own = {id(p) for task in case.set.schema.tasks for p in model.task_parameters(task)}
    if not model.shared_parameters():
        return
    reached = gradients(model, model.representation(case.set.batch(64)).square().sum())
    names = {name for name, parameter in model.named_parameters() if id(parameter) in own}
    assert reached
    assert all(torch.count_nonzero(reached[name]) == 0 for name in names & reached.keys())


@every_model
def test_a_row_is_scored_alone(case: Case) -> None:
    model = case.build().double().eval()
    batch = case.set.batch(9, dtype=torch.float64)
    whole, part = model(batch), model(part_of(batch, slice(2, 5)))
    for name in case.set.schema.tasks:
        torch.testing.assert_close(whole[name][2:5], part[name], rtol=0, atol=1e-12)


@every_model
def test_every_parameter_learns(case: Case) -> None:
    model = case.build()
    (losses,) = case.totals(model, [case.set.batch(128)])
    losses.sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@every_model
def test_without_any_label_losses_and_gradients_are_zero(case: Case) -> None:
    model = case.build()
    (losses,) = case.totals(model, [unlabelled(case.set.batch(64))], auxiliary=False)
    losses.sum().backward()
    assert losses.tolist() == [0.0] * len(case.set.schema.tasks)
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or torch.count_nonzero(parameter.grad) == 0, name


@every_model
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_a_batch_of_one_class_has_finite_losses_and_gradients(case: Case, label: float) -> None:
    model = case.build()
    batch = case.set.batch(64)
    (losses,) = case.totals(model, [replace(batch, labels=torch.where(batch.observed, label, 0.0))])
    losses.sum().backward()
    assert torch.isfinite(losses).all()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@every_model
def test_two_ranks_are_one(case: Case) -> None:
    # In evaluation mode the random gates of SNR are the same on all ranks, and batch norms need no collective; what
    # training adds is then added by hand.
    model = case.build().double()
    for module in model.modules():
        module.training = module is model.outputs or module is model.sharing
    batch = case.set.batch(40, dtype=torch.float64)
    parts = [part_of(batch, slice(0, 7)), part_of(batch, slice(7, 40))]
    # Padding and rows without a label belong to no loss.
    parts.append(replace(unlabelled(case.set.batch(5, seed=3, dtype=torch.float64)), row_id=torch.full((5,), -1)))
    (whole,) = case.totals(model, [batch])
    expected = gradients(model, whole.sum())
    ranks = case.totals(model, parts)
    assert len(whole) == len(case.set.schema.tasks) + len(model.auxiliary_names)
    torch.testing.assert_close(torch.stack(ranks).mean(dim=0), whole, rtol=0, atol=1e-12)
    found = [gradients(model, losses.sum()) for losses in ranks]
    for name, grad in expected.items():
        mean = torch.stack([rank[name] for rank in found]).mean(dim=0)
        torch.testing.assert_close(mean, grad, rtol=0, atol=1e-12)


@each_once
def test_auxiliary_losses_bear_their_names(case: Case) -> None:
    model = case.build()
    batch = case.set.batch(9)
    losses = model.auxiliary_losses(batch, model(batch))
    assert tuple(losses) == model.auxiliary_names
    for name, loss in losses.items():
        assert name not in case.set.schema.tasks
        assert loss.sum.shape == loss.weight.shape == ()
        assert not loss.weight.requires_grad


@every_model
def test_state_dict_round_trip(case: Case) -> None:
    model, other = case.build(seed=0).eval(), case.build(seed=1).eval()
    batch = case.set.batch(9)
    before = other(batch)
    other.load_state_dict(model.state_dict())
    expected, found = model(batch), other(batch)
    for name in case.set.schema.tasks:
        assert torch.equal(expected[name], found[name])
        assert not torch.equal(expected[name], before[name])


@each_once
def test_the_same_seed_gives_the_same_weights(case: Case) -> None:
    first, second, third = (case.build(seed).state_dict() for seed in (5, 5, 6))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], third[name]) for name in first)


@every_model
def test_shared_and_task_parameters_are_those_that_several_tasks_or_one_reach(case: Case) -> None:
    model = case.build().eval()
    tasks = case.set.schema.tasks
    batch = case.set.batch(256)
    reached: dict[int, set[str]] = {id(parameter): set() for parameter in model.parameters()}
    for task in tasks:
        model.zero_grad(set_to_none=True)
        model(batch)[task].square().sum().backward()
        for parameter in model.parameters():
            if parameter.grad is not None and torch.count_nonzero(parameter.grad) > 0:
                reached[id(parameter)].add(task)
    parts = [model.shared_parameters(), *(model.task_parameters(task) for task in tasks)]
    found = [id(parameter) for part in parts for parameter in part]
    assert len(found) == len(set(found))
    assert set(found) == set(reached)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for parameter in model.shared_parameters():
        assert len(reached[id(parameter)]) > 1, names[id(parameter)]
    for task in tasks:
        for parameter in model.task_parameters(task):
            # The imputation towers of ESCM2 are reached by auxiliary losses alone.
            allowed = [{task}, set()] if "imputation" in names[id(parameter)] else [{task}]
            assert reached[id(parameter)] in allowed, names[id(parameter)]


@every_model
def test_embedding_parameters_are_the_tables_of_every_encoding_set(case: Case) -> None:
    model = case.build()
    tables = model.embedding_parameters()
    narrow = [wanted for wanted in case.config.encoding_sets(case.set.schema) if wanted.features is not None]
    whole = len(case.config.encoding_sets(case.set.schema)) - len(narrow)
    rows = sum(case.set.schema.vocabularies.values())
    assert whole * rows <= sum(table.shape[0] for table in tables) <= (whole + len(narrow)) * rows
    assert len(tables) == whole + len(narrow)


@every_model
def test_weight_decay_spares_biases_and_norms(case: Case) -> None:
    model = case.build()
    decayed = {
        id(parameter)
        for group in build_optimizer(OptimizerConfig(weight_decay=0.1), model).param_groups
        if group["weight_decay"] > 0
        for parameter in group["params"]
    }
    names = {name for name, parameter in model.named_parameters() if id(parameter) in decayed}
    spared = {name for name, _ in model.named_parameters()} - names
    assert names
    # Beside biases and norms: what mixes columns or opens connections, which 0 is no natural value of.
    kinds = ("bias", "norm", "embedding", "stitches", "log_alpha", "native")
    assert all(any(kind in name for kind in kinds) for name in spared)
    assert not any("bias" in name or "norm" in name or "embedding.weight" in name for name in names)


@each_once
def test_dropout_is_for_training_alone(case: Case) -> None:
    case = Case(case.config.model_copy(update={"dropout": 0.5}), case.set)
    model = case.build()
    batch = case.set.batch(9)
    first = case.set.schema.tasks[0]
    if case.config.tower or name_of(case.config) not in ("esmm", "escm2"):
        assert not torch.equal(model(batch)[first], model(batch)[first])
    model.eval()
    assert torch.equal(model(batch)[first], model(batch)[first])


@each_once
def test_float64_and_determinism(case: Case) -> None:
    model = case.build().double()
    batch = case.set.batch(9, dtype=torch.float64)
    runs = []
    for _ in range(2):
        torch.manual_seed(3)
        logits = model(batch)
        runs.append(
            (logits, gradients(model, torch.stack([logits[name].sum() for name in case.set.schema.tasks]).sum()))
        )
    assert {logit.dtype for logit in runs[0][0].values()} == {torch.float64}
    for first, second in zip(*runs, strict=True):
        assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("member", [m for m in MEMBERS if m.task_graph != "required"], ids=lambda m: m.__name__)
def test_one_task_is_enough(member: type[ModelSettings]) -> None:
    torch.manual_seed(0)
    tasks = {"click": make_tasks()["click"]}
    model = member().build(SCHEMA.model_copy(update={"tasks": ("click",)}), tasks)
    batch = random_batch(64)
    batch = replace(batch, labels=batch.labels[:, :1], observed=batch.observed[:, :1])
    logits = model(batch)
    sums, weights, _ = task_losses(logits, batch, tasks)
    added = [loss.sum / loss.weight for loss in model.auxiliary_losses(batch, logits).values()]
    grads = gradients(model, torch.stack([normalise(sums, weights, world_size=1).sum(), *added]).sum())
    assert set(grads) == {name for name, _ in model.named_parameters()}
    assert all(torch.isfinite(grad).all() for grad in grads.values())


@each_once
def test_bf16_autocast_has_finite_float32_losses_and_gradients(case: Case) -> None:
    model = case.build()
    batch = case.set.batch(64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(batch)
    sums, weights, _ = task_losses(logits, batch, case.set.tasks())
    added = model.auxiliary_losses(batch, logits).values()
    losses = torch.cat([sums / weights, *((loss.sum / loss.weight).view(1) for loss in added)])
    assert losses.dtype == torch.float32
    exact, _ = case.totals(model, [batch, unlabelled(batch)])
    torch.testing.assert_close(losses[: len(sums)], exact[: len(sums)] / 2, rtol=0.05, atol=0.02)
    for name, grad in gradients(model, losses.sum()).items():
        assert torch.isfinite(grad).all(), name


@each_once
def test_the_untrained_model_predicts_about_the_base_rates(case: Case) -> None:
    tasks = case.set.tasks()
    logits = case.build().eval()(case.set.batch(256))
    for name, task in tasks.items():
        predicted = task.predict(logits[name]).mean(dim=0)
        expected = task.predict(task.initial_bias().unsqueeze(0)).squeeze(0)
        if name == "value":
            predicted, expected = predicted.log1p(), expected.log1p()
        torch.testing.assert_close(predicted, expected, rtol=0.25, atol=0)


@each_once
def test_tasks_of_another_schema_are_refused(case: Case) -> None:
    tasks = case.set.tasks()
    del tasks["value"]
    with pytest.raises(ValueError, match=r"are not those of the schema: .*'value'"):
        case.config.build(case.set.schema, tasks)


@every_model
def test_the_config_survives_json(case: Case) -> None:
    config = case.config
    assert type(config).model_validate_json(config.model_dump_json()) == config


@each_once
@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("dropout", 1.0, "less than 1"),
        ("tower", [0], "greater than 0"),
        ("activation", "tanh", "'relu', 'gelu' or 'silu'"),
        ("encoder", {"embedding_dim": 0}, "greater than or equal to 1"),
        ("num_heads", 2, "Extra inputs are not permitted"),
    ],
)
def test_values_out_of_range_are_refused(case: Case, key: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        type(case.config).model_validate({key: value})
