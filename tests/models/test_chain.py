"""Networks trained in parallel: each matches its seed trained alone, including data and gradient collisions."""

from functools import partial

import pytest
import torch
from chain_cases import SMALL
from torch import nn

from kiti.data.sine_sum import SineSumData, target
from kiti.ko import KO
from kiti.models.chain import ACTIVATIONS, Chain
from kiti.residual import Add, KITIResidual
from kiti.tasks.regression import Regression


def trained(seed: int, replicas: int, collision: str | None, steps: int = 5) -> Chain:
    """A few hand-written Adam steps on each replica's own points."""
    model = Chain(**SMALL, seed=seed, replicas=replicas)
    learner = Regression(
        model,
        partial(torch.optim.Adam, lr=0.01),
        collision=collision and partial(KO, mode=collision, coll_coef=0.9 if collision == "hard" else 0.1, seed=seed),
        neurons=["layers.0.weight"],
        seed=seed,
    )
    optimizer = learner.configure_optimizers()
    (x, y), _test, _content = SineSumData(12, 3, 5, 12, seed=seed, replicas=replicas).load()
    for step in range(steps):
        learner.training_step((x, y), step).backward()
        learner.on_before_optimizer_step(optimizer)
        optimizer.step()
        optimizer.zero_grad()
    return model


@pytest.mark.parametrize("collision", [None, "soft", "hard"])
def test_a_replica_is_the_network_with_its_seed(collision):
    together = trained(3, 4, collision)
    for replica in range(4):
        alone = trained(3 + replica, 1, collision)
        for name, parameter in alone.named_parameters():
            torch.testing.assert_close(parameter[0], together.get_parameter(name)[replica], rtol=1e-4, atol=1e-6)


def test_collisions_change_gradients():
    assert not torch.equal(trained(3, 2, None).layers[0].weight, trained(3, 2, "soft").layers[0].weight)
    assert not torch.equal(trained(3, 2, "soft").layers[0].weight, trained(3, 2, "hard").layers[0].weight)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_layers_written_out(activation):
    model = Chain(**{**SMALL, "activation": activation}, seed=0, replicas=2)
    x = torch.randn(4, 2, 5)
    act = ACTIVATIONS[activation]
    for n in range(4):
        for replica in range(2):
            hidden = x[n, replica]
            for number, layer in enumerate(model.layers):
                output = layer.weight[replica] @ hidden + layer.bias[replica]
                hidden = output if number == 3 else act(output) if number == 0 else hidden + act(output)
            torch.testing.assert_close(model(x)[n, replica], hidden[0])


@pytest.mark.parametrize(
    ("shortcut", "seams", "kinds"),
    [
        (False, 0, [nn.Identity, nn.Identity]),
        (False, 1, [nn.Identity, KITIResidual]),
        (True, 1, [Add, KITIResidual]),
        (True, 2, [KITIResidual, KITIResidual]),
    ],
)
def test_where_the_seams_are(shortcut, seams, kinds):
    sizes = {**SMALL, "shortcut": shortcut, "seams": seams}
    model = Chain(**sizes, seed=0, residual=partial(KITIResidual, 2, 0.5))
    assert [type(joint) for joint in model.residuals] == kinds


def test_published_activations():
    x = torch.tensor([-1.0, 2.0])
    tanh = x.tanh()
    assert torch.equal(ACTIVATIONS["xtanh"](x), x * tanh)
    assert torch.equal(ACTIVATIONS["x2tanh"](x), x * x * tanh)


def test_parameters_have_the_requested_spread():
    model = Chain(**{**SMALL, "width": 50, "init_std": 0.005}, seed=0, replicas=3)
    drawn = torch.cat([parameter.flatten(1) for parameter in model.parameters()], dim=1)
    assert drawn.std(dim=1).tolist() == pytest.approx([0.005] * 3, rel=0.03)
    assert not torch.equal(drawn[0], drawn[1])


def test_more_seams_than_layers():
    with pytest.raises(ValueError, match=r"seams=3: the network has 2 layers"):
        Chain(**{**SMALL, "seams": 3}, seed=0)


def test_points():
    data = SineSumData(80, 1000, 5, 80, seed=7, replicas=2)
    (x, y), (fresh, _), content = data.load()
    assert (x.shape, y.shape, fresh.shape) == ((80, 2, 5), (80, 2), (1000, 2, 5))
    assert -4 <= fresh.min() < -3.9
    assert 1.9 < fresh.max() <= 2
    expected = sum(3.5 * torch.sin(5 * x[:, :, k] + 1) for k in range(5))
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(target(x), expected)
    alone = SineSumData(80, 1000, 5, 80, seed=8)
    assert torch.equal(alone.load()[0][0][:, 0], x[:, 1])
    assert content == data.fingerprint_of(0)["content"] != data.fingerprint_of(1)["content"]
    assert alone.fingerprint_of(0)["content"] == data.fingerprint_of(1)["content"]
    assert alone.recipe_fingerprint == data.recipe_fingerprint
    assert SineSumData(81, 1000, 5, 80, seed=7).recipe_fingerprint != data.recipe_fingerprint
