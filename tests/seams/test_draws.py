"""Random directions: a stream of each module's own, repeated by recomputation, never from the global generator."""

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from kiti.collision.draws import Draws
from kiti.residual import AccelerationChain, Dropout, KITIResidual, MatchedNoise, Residual
from kiti.seams.fitting import SeamError
from kiti.seams.watching import Directions

KINDS: dict[str, Callable[[], Residual]] = {
    "kiti": partial(KITIResidual, 2, 0.9),
    "detached": partial(KITIResidual, 2, 0.9, detach_collision=True),
    "random pairs": partial(KITIResidual, 2, 0.9, pairing="random"),
    "noise": partial(MatchedNoise, 2, 0.9),
    "sparse noise": partial(MatchedNoise, 2, 0.9, sparse=True, detach_collision=False),
    "dropout": partial(Dropout, 0.5),
    "acceleration": lambda: AccelerationChain(2, 0.9)(),
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
X, V = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1))


class Block(nn.Module):
    """x' = residual(x, W x)."""

    def __init__(self, residual: Residual) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        return self.residual(x, self.linear(x))


@EVERY_KIND
def test_the_global_generator_is_neither_used_nor_advanced(kind: str) -> None:
    residual = KINDS[kind]()
    before = torch.get_rng_state()
    first = residual(X, V)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(residual(X, V), first), "each call has its own"
    torch.manual_seed(1)
    Directions(residual, seed=3)
    third = residual(X, V)
    torch.manual_seed(2)
    Directions(residual, seed=3)
    assert torch.equal(residual(X, V), third)


@EVERY_KIND
def test_a_seeded_script_repeats_itself_in_one_process(kind: str) -> None:
    def script() -> list[Tensor]:
        torch.manual_seed(5)
        blocks = [Block(KINDS[kind]()) for _ in range(2)]
        together = [KINDS[kind]() for _ in range(2)]  # created in one state of the generator
        return [block(X) for block in blocks] + [one(X, V) for one in together for _ in range(2)]

    first, second = script(), script()
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))
    assert not torch.equal(first[2], first[4]), "two modules draw differently"


def test_modules_calls_ranks_and_seeds_differ() -> None:
    seeds = {
        Draws((seed, module), rank, call).seed(X, V)
        for seed in range(3)
        for module in range(3)
        for rank in range(3)
        for call in range(3)
    }
    assert len(seeds) == 81


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@EVERY_KIND
def test_checkpointing_repeats_the_calls_of_several_forwards(
    kind: str, order: tuple[int, int], reentrant: bool
) -> None:
    """Gradients of two forwards before their backwards, in either order: those without checkpointing."""
    torch.manual_seed(0)
    block = Block(KINDS[kind]()).double()
    inputs = [X.double().requires_grad_(), V.double().requires_grad_()]

    def gradients(checkpointed: bool) -> list[Tensor]:
        Directions(block, seed=0)
        outputs = [checkpoint(block, x, use_reentrant=reentrant) if checkpointed else block(x) for x in inputs]
        found = []
        for at in order:
            found += torch.autograd.grad(outputs[at].square().sum(), [inputs[at]]) if not reentrant else []
            if reentrant:
                inputs[at].grad = None
                outputs[at].square().sum().backward()
                found.append(inputs[at].grad.clone())
        return found

    for actual, expected in zip(gradients(True), gradients(False), strict=True):
        torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_dropout_has_the_same_masks_with_and_without() -> None:
    masks = []
    for residual in (Residual(), KITIResidual(2, 0.9)):
        torch.manual_seed(0)
        residual(X, V)
        masks.append(nn.functional.dropout(torch.ones(20), 0.5))
    assert torch.equal(*masks)


def test_a_saved_position_continues_with_the_same_bits() -> None:
    model = nn.Sequential(Block(KITIResidual(2, 0.9)), Block(KITIResidual(2, 0.9)))
    directions = Directions(model, seed=1)
    model(X)
    state = copy.deepcopy(directions.state_dict())
    expected = model(X)
    other = copy.deepcopy(model)
    Directions(other, seed=9)
    model(X)
    Directions(other).load_state_dict(state)
    assert torch.equal(other(X), expected)
    with pytest.raises(SeamError, match=r"'0\.residual' is only on one side"):
        Directions(model[0]).load_state_dict(state)


def test_a_model_without_residuals_is_named() -> None:
    with pytest.raises(SeamError, match=r"Linear has no residuals of kiti: see kiti\.open_seam"):
        Directions(nn.Linear(2, 2)).state_dict()


def test_a_model_is_created_on_fake_and_meta_tensors() -> None:
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        Block(KITIResidual(2, 0.9))
    with torch.device("meta"):
        assert Block(KITIResidual(2, 0.9))(X.to("meta")).shape == X.shape
