"""An evaluation leaves no trace."""

import random

import evaluation_cases
import numpy as np
import torch
from torch import nn

from kiti.evaluation.undisturbed import undisturbed


def test_modes_gradients_and_random_numbers_are_as_before() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), nn.Sequential(nn.BatchNorm1d(2)))
    model.train()
    model[2].eval()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    expected = [random.random(), np.random.rand(), torch.rand(()).item()]  # noqa: NPY002
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    with undisturbed(model):
        assert not any(module.training for module in model.modules())
        assert not model(torch.ones(3, 2)).requires_grad
        random.seed(7), np.random.seed(7), torch.manual_seed(7)  # noqa: NPY002
        torch.rand(5)
    assert [module.training for module in model.modules()] == [True, True, True, False, False]
    assert [random.random(), np.random.rand(), torch.rand(()).item()] == expected  # noqa: NPY002
    assert torch.is_grad_enabled()


def test_it_computes_in_the_weights_own_precision_under_autocast() -> None:
    model = nn.Linear(4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        with undisturbed(model):
            assert model(torch.ones(1, 4)).dtype == torch.float32
        assert model(torch.ones(1, 4)).dtype == torch.bfloat16


def test_it_restores_what_an_error_leaves() -> None:
    model = evaluation_cases.model().train()
    state = torch.get_rng_state()
    try:
        with undisturbed(model):
            torch.rand(3)
            raise KeyError
    except KeyError:
        pass
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)


def test_a_compiled_model_is_not_compiled_again() -> None:
    model, traced = nn.Linear(4, 4), []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        traced.append(len(inputs))
        return graph.forward

    model.compile(backend=backend)
    model(torch.ones(2, 4))
    before = len(traced)
    with undisturbed(model):
        model(torch.ones(3, 4))
        model(torch.ones(5, 4))
    assert len(traced) == before == 1
