"""Some parameters may learn faster than the rest, by the same factor throughout the schedule."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from hydra.errors import InstantiationException
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR, StepLR

from kiti.configuration.compose import compose
from kiti.configuration.explain import ConfigError, line
from kiti.data.sine_sum import SineSumData
from kiti.ko import KO
from kiti.models.chain import Chain
from kiti.tasks.regression import Regression
from kiti.tasks.schedules import WarmupCosine
from kiti.training import building

OVERRIDES = ["experiment=condensation_fc", "scale=smoke"]
WARMUP = {"epochs": 10, "warmup_epochs": 3, "warmup_lr": 0.01, "min_lr": 0.0, "under_warmup": False, "each": "step"}


def learner(multipliers: dict[str, float] | None, **arguments) -> Regression:
    model = Chain(d_in=5, width=6, depth=1, activation="tanh", init_std=0.3, shortcut=True, seams=0, seed=0)
    return Regression(model, **{"optimizer": partial(SGD, lr=0.1), "lr_multipliers": multipliers, **arguments})


def rates(task: Regression, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    names = {id(parameter): name for name, parameter in task.model.named_parameters()}
    return {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}


def a_step(task: Regression, optimizer: torch.optim.Optimizer) -> None:
    batch, _test, _content = SineSumData(12, 3, 5, 12, seed=0, replicas=1).load()
    task.training_step(batch, 0).backward()
    task.on_before_optimizer_step(optimizer)
    optimizer.step()


def test_a_parameter_gets_the_factor_of_its_matching_pattern():
    task = learner({"layers.0.*": 10.0, "layers.[12].bias": 0.5})
    optimizer = task.configure_optimizers()
    assert rates(task, optimizer) == pytest.approx(
        {
            "layers.0.weight": 1.0,
            "layers.0.bias": 1.0,
            "layers.1.weight": 0.1,
            "layers.1.bias": 0.05,
            "layers.2.weight": 0.1,
            "layers.2.bias": 0.05,
        }
    )
    before = {name: parameter.detach().clone() for name, parameter in task.model.named_parameters()}
    a_step(task, optimizer)
    for name, parameter in task.model.named_parameters():
        expected = before[name] - rates(task, optimizer)[name] * parameter.grad
        torch.testing.assert_close(parameter.detach(), expected, msg=name)


def test_vectors_can_skip_weight_decay_at_any_learning_rate():
    task = learner({"layers.1.*": 10.0}, optimizer=partial(SGD, lr=0.1, weight_decay=0.2), decay_vectors=False)
    names = {id(parameter): name for name, parameter in task.model.named_parameters()}
    groups = task.configure_optimizers().param_groups
    assert {names[id(p)]: (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]} == {
        f"layers.{i}.{what}": (1.0 if i == 1 else 0.1, 0.2 if what == "weight" else 0.0)
        for i in range(3)
        for what in ("weight", "bias")
    }


@pytest.mark.parametrize("multipliers", [None, {}])
def test_without_patterns_there_is_one_group(multipliers: dict | None):
    task = learner(multipliers)
    optimizer = task.configure_optimizers()
    [group] = optimizer.param_groups
    assert [id(p) for p in group["params"]] == [id(p) for p in task.model.parameters()]


def test_patterns_can_match_every_parameter():
    task = learner({"*": 2.0})
    assert set(rates(task, task.configure_optimizers()).values()) == {0.2}


@pytest.mark.parametrize(
    ("scheduler", "steps"),
    [
        (partial(StepLR, step_size=2, gamma=0.1), 6),
        (partial(OneCycleLR, max_lr=0.3, pct_start=0.3), 10),
        (partial(WarmupCosine, **WARMUP), 10),
    ],
)
def test_a_schedule_keeps_the_factor(scheduler: partial, steps: int):
    def rates_over_time(multipliers: dict[str, float]) -> list[dict[str, float]]:
        task = learner(multipliers, scheduler=scheduler)
        one_batch = SimpleNamespace(train_dataloader=lambda: [None])
        task._trainer = SimpleNamespace(max_epochs=steps, accumulate_grad_batches=1, datamodule=one_batch)
        made = task.configure_optimizers()
        schedule = made["lr_scheduler"]
        schedule = schedule["scheduler"] if isinstance(schedule, dict) else schedule
        found = []
        for _ in range(steps - 1):
            a_step(task, made["optimizer"])
            schedule.step()
            found.append(rates(task, made["optimizer"]))
        return found

    plain, faster = rates_over_time({}), rates_over_time({"layers.1.*": 10.0})
    assert len({at["layers.0.weight"] for at in plain}) > 2, "the schedule changes the rate"
    for one, ten in zip(plain, faster, strict=True):
        for name, rate in one.items():
            assert ten[name] == pytest.approx(rate * (10 if name.startswith("layers.1.") else 1)), name


@pytest.mark.parametrize("mode", ["soft", "hard"])
def test_gradients_of_every_group_collide(mode: str):
    task = learner(
        {"layers.1.*": 10.0},
        collision=partial(KO, mode=mode, coll_coef=0.9 if mode == "hard" else 0.1),
        neurons=["layers.?.weight"],
    )
    a_step(task, task.configure_optimizers())
    assert task.ko is not None
    assert {"layers.0.weight", "layers.1.weight"} <= {n for n, change in task.ko.relative_change.items() if change > 0}


@pytest.mark.parametrize(
    ("multipliers", "message"),
    [
        ({"layers.0.wieght": 2.0}, "pattern 'layers.0.wieght' matches no parameter; closest names: layers.0.weight"),
        ({"layers.0.*": 2.0, "*.bias": 3.0}, r"pattern '\*.bias' matches layers.0.bias, which another pattern matches"),
    ],
)
def test_a_pattern_with_no_match_or_an_overlap_is_named(multipliers: dict[str, float], message: str):
    with pytest.raises(ValueError, match=message):
        learner(multipliers)


def test_the_command_line_takes_patterns_and_reports_errors_in_one_line():
    base = compose(OVERRIDES)
    assert compose([*OVERRIDES, "task.lr_multipliers=null"]).hash == base.hash
    given = compose([*OVERRIDES, "task.lr_multipliers={layers.0.*: 10, *.1.bias: 0.5}"])
    assert given.hash != base.hash
    assert building.task(given).lr_multipliers == {"layers.0.*": 10, "*.1.bias": 0.5}
    with pytest.raises(ConfigError, match="greater than 0"):
        compose([*OVERRIDES, "task.lr_multipliers={layers.0.*: 0}"])
    overrides = [*OVERRIDES, "task.lr_multipliers={layer.0: 10}"]
    with pytest.raises(InstantiationException) as error:
        building.task(compose(overrides))
    message = line(error.value, list)
    assert message.startswith("task: pattern 'layer.0' matches no parameter; closest names: ")
    assert "\n" not in message
