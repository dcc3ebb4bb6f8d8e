"""A step planned on the meta device against real steps, and against what records say."""

import json

import pytest
import torch

from kiti.configuration.compose import build_model, compose
from kiti.configuration.locations import EXPERIMENTS
from kiti.planning import meta_step
from kiti.planning.meta_step import Steps, optimizer_bytes
from kiti.training.counting import counter


def records(name):
    """The first record of each distinct configuration."""
    lines = (json.loads(line) for line in (EXPERIMENTS / f"{name}.jsonl").read_text().splitlines())
    return {record["config_hash"]: record for record in lines}.values()


@pytest.mark.parametrize(
    ("name", "calls", "within"),
    [
        ("kitinet/records/burgers-paper", 1, 0),
        ("kitinet/records/heat-laptop", 5, 0),  # frames that are predicted, one call each
        ("kitinet/records/airfoil_euler-laptop", 1, 0.05),  # as the number of points is an estimate
        ("kitinet/records/condensation_skip-paper", 1, 0),
        ("kitinet/records/fashion_kitinet-laptop", 1, 0),
        ("ko/records/fashion_ko-laptop", 1, 0),
    ],
)
def test_parameters_and_operations_are_those_of_the_records(name, calls, within):
    steps = Steps()
    for record in list(records(name))[:3]:
        step = steps.of(compose(record["overrides"]))
        assert step.parameters == record["parameters"]
        assert step.test_flops == pytest.approx(calls * record["flops_per_sample"], rel=within, abs=0)


@pytest.mark.parametrize("experiment", ["burgers", "heat", "fashion_kitinet", "condensation_fc", "airfoil_euler"])
def test_a_real_step_costs_what_was_planned(experiment):
    composed = compose([f"experiment={experiment}", "scale=smoke"])
    config = composed.checked
    batch = tuple(
        torch.ones(config.data.batch_size, *entry.shape, dtype=getattr(torch, entry.dtype))
        for entry in config.data.sample(training=True)
    )
    model = build_model(composed).train()
    with counter() as counted:
        config.task.outputs(model, batch).square().sum().backward()
    assert Steps().of(composed).training_flops * config.data.batch_size == counted.get_total_flops()


def test_a_rollout_is_planned_as_the_task_rolls_out():
    from kiti.tasks.operator_learning import OperatorRollout

    composed = compose(["experiment=heat", "scale=smoke"])
    model = build_model(composed)
    given, target = (torch.randn(2, *entry.shape) for entry in composed.checked.data.sample(training=True))
    task = OperatorRollout(model, torch.optim.Adam)
    assert torch.equal(composed.checked.task.outputs(model, (given, target)), task.predict(given, target))


@pytest.mark.parametrize(
    "experiment",
    ["burgers", "condensation_fc", *(pytest.param(n, marks=pytest.mark.slow) for n in ("heat", "airfoil_euler"))],
)
def test_samples_have_the_shapes_that_their_keys_declare(experiment, tmp_path):
    from kiti.training import building

    composed = compose([f"experiment={experiment}", "scale=smoke", f"data_dir={tmp_path}"])
    keys = composed.checked.data
    data = building.data(composed)
    data.prepare_data()
    data.setup()
    for training, loader in ((True, data.train_dataloader()), (False, data.test_dataloader())):
        found = [(tuple(each.shape[1:]), str(each.dtype)) for each in next(iter(loader))]
        declared = [(entry.shape, f"torch.{entry.dtype}") for entry in keys.sample(training)]
        if experiment != "airfoil_euler":
            assert found == declared
        else:  # whose number of points is an estimate
            points, estimate = found[-1][0][0], keys.points()
            assert abs(estimate / points - 1) < 0.1
            exact = [(tuple(points if n == estimate else n for n in shape), kind) for shape, kind in declared]
            assert found == exact
    sizes = keys.sizes()
    assert (sizes.train, sizes.test) == (keys.n_train, keys.n_test)
    assert sizes.batches(keys.batch_size) == len(data.train_dataloader())


@pytest.mark.parametrize("residual", ["add", "kiti"])
def test_a_few_frames_tell_the_cost_of_all(residual, monkeypatch):
    composed = compose(["experiment=heat", "scale=laptop", f"residual={residual}", "data.frames_out=9"])
    from_few = Steps().of(composed)
    monkeypatch.setattr(meta_step, "_FEW", 9)
    assert from_few == Steps().of(composed)


@pytest.mark.parametrize(
    ("overrides", "kept"),
    [
        (["experiment=burgers"], 2),  # Adam
        (["experiment=airfoil_euler"], 2),  # AdamW
        (["experiment=imagenet_resnet50"], 2),  # LAMB
        (["experiment=fashion_ko"], 1),  # SGD with momentum
        (["experiment=fashion_ko", "optimizer.momentum=0.0"], 0),
    ],
)
def test_memory_of_optimizers(overrides, kept):
    assert optimizer_bytes(compose(overrides), torch.Size([10, 10]), torch.float32)[0] == kept * 400
    assert optimizer_bytes(compose(overrides), torch.Size([10, 10]), torch.float64)[0] == kept * 800


def test_devices_share_a_batch():
    composed = compose(["experiment=burgers", "scale=smoke"])
    alone, shared = Steps().of(composed), Steps(devices=2).of(composed)
    assert alone.training_flops == shared.training_flops
    assert shared.peak_bytes < alone.peak_bytes


def test_collisions_keep_features_for_their_gradient():
    """x and v, and for each particle its number of partners; the layers' other features live with both residuals."""
    add, kiti = (
        Steps().of(compose(["experiment=burgers", "scale=laptop", f"residual={residual}"]))
        for residual in ("add", "kiti")
    )
    config = compose(["experiment=burgers", "scale=laptop", "residual=kiti"]).checked
    of_a_layer = 4 * config.data.batch_size * config.model.width * config.data.resolution
    kept = config.model.n_layers * (2 * of_a_layer + of_a_layer // config.residual.collision_heads)
    assert add.training_flops == kiti.training_flops
    assert 0.5 * kept < kiti.peak_bytes - add.peak_bytes <= kept
