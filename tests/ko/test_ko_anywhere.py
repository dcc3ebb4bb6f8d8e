"""KO with what other code does to an optimizer: wrapping, copying, scaling, skipping, saving, clipping."""

import copy
import math
import pickle
import subprocess
import sys

import pytest
import torch
from accelerate import Accelerator
from timm.optim import Lookahead
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from kiti.ko import KO, hard_collision, matrices, soft_collision
from kiti.ko.foreign_optimizers import unwrapped

# What KO warns about on its own is an error, except for large changes, which coll_coef 0.9 of hard makes.
pytestmark = [
    pytest.mark.filterwarnings("error"),
    pytest.mark.filterwarnings("ignore:KO changes the gradient"),
    pytest.mark.filterwarnings("ignore:torch.distributed is disabled"),
]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))


def backward(model, step=0, scale=1.0):
    model.zero_grad()
    x = torch.randn(16, 6, generator=torch.Generator().manual_seed(step))
    (scale * model(x).square().mean()).backward()


def started(mode="hard", coll_coef=0.9, make=torch.optim.Adam, **options):
    model = network()
    optimizer = make(model.parameters(), lr=0.01)
    return model, optimizer, KO(optimizer, matrices(model), mode, coll_coef, seed=3, **options)


def trained(model, optimizer, steps):
    for step in steps:
        backward(model, step)
        optimizer.step()
    return [p.detach().clone() for p in model.parameters()]


def test_a_second_ko_is_refused_until_the_first_is_detached():
    model, optimizer, ko = started()
    with pytest.raises(ValueError, match="the Adam optimizer has a KO already"):
        KO(optimizer, matrices(model), "soft", 0.1)
    ko.detach()
    KO(optimizer, matrices(model), "soft", 0.1)


@pytest.mark.parametrize("wrap", [Lookahead, lambda inner: Accelerator(cpu=True).prepare(inner)])
def test_a_wrapped_optimizer_is_unwrapped(wrap):
    model = network()
    inner = torch.optim.Adam(model.parameters(), lr=0.01)
    wrapped = wrap(inner)
    ko = KO(wrapped, matrices(model), "hard", 0.9)
    assert ko.optimizer is inner
    backward(model)
    wrapped.step()
    assert ko.step_count == 1


def test_a_wrapper_whose_step_runs_no_hooks_is_named():
    class Wrapper(torch.optim.Optimizer):
        def __init__(self, inner):
            self.inner, self.param_groups = inner, inner.param_groups

        def step(self, closure=None):
            self.inner.step(closure)

    model = network()
    with pytest.raises(TypeError, match="optimizer is a Wrapper, whose step runs no hooks: pass the torch optimizer"):
        KO(Wrapper(torch.optim.SGD(model.parameters())), matrices(model), "soft", 0.1)


def test_parameters_that_the_optimizer_no_longer_has_are_named():
    _, optimizer, _ = started()
    other = network()
    backward(other)
    optimizer.param_groups[0]["params"] = list(other.parameters())  # as accelerate does with FSDP2
    with pytest.raises(ValueError, match=r"'0\.weight' is not among those of the Adam optimizer: replaced since KO"):
        optimizer.step()


def test_a_step_without_gradients_warns_once():
    _, optimizer, _ = started()
    with pytest.warns(UserWarning, match="KO: no gradient in any of its 2 parameters"):
        optimizer.step()
    optimizer.step()


@pytest.mark.parametrize("what", [None, "adam", nn.Linear(2, 2)])
def test_what_is_not_an_optimizer_is_named(what):
    with pytest.raises(TypeError, match=r"optimizer is a \w+: a torch optimizer is needed"):
        unwrapped(what)  # not through KO, whose types the tests check first


@pytest.mark.parametrize("how", [copy.deepcopy, lambda optimizer: pickle.loads(pickle.dumps(optimizer))])
def test_a_copy_that_lost_its_ko_says_so_at_its_first_step(how):
    model, optimizer, _ = started()
    trained(model, optimizer, range(2))
    other = how(optimizer)
    with pytest.raises(RuntimeError, match="this Adam has the state of a KO, copied or loaded, but no KO"):
        other.step()
    trained(model, optimizer, range(2))  # the original goes on


def test_an_unpickled_optimizer_says_so_in_a_process_that_has_not_imported_kiti(tmp_path):
    _, optimizer, _ = started()
    torch.save(optimizer, tmp_path / "optimizer.pt")
    code = f"import torch; torch.load({str(tmp_path / 'optimizer.pt')!r}, weights_only=False).step()"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "RuntimeError: this Adam has the state of a KO" in run.stderr
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt", weights_only=True)["param_groups"][0]["ko_step"] == 0


@pytest.mark.parametrize("how", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_ko_that_is_created_for_a_copy_continues(how):
    uninterrupted = trained(*started()[:2], range(5))
    model, optimizer, _ = started()
    trained(model, optimizer, range(3))
    model, optimizer = how((model, optimizer))
    with pytest.raises(ValueError, match=r"coll_coef=0\.5, but the state to load was saved with coll_coef=0\.9"):
        KO(optimizer, matrices(model), "hard", 0.5)
    ko = KO(optimizer, matrices(model), "hard", 0.9)
    assert (ko.step_count, ko.seed) == (3, 3)
    assert all(torch.equal(*pair) for pair in zip(trained(model, optimizer, range(3, 5)), uninterrupted, strict=True))


def test_a_ko_that_is_created_after_loading_continues():
    model, optimizer, ko = started()
    trained(model, optimizer, range(3))
    _, other, late = started()
    late.detach()
    other.load_state_dict(optimizer.state_dict())
    with pytest.raises(RuntimeError, match="copied or loaded, but no KO"):
        other.step()
    assert KO(other, late.params, "hard", 0.9).step_count == ko.step_count == 3


def test_a_detached_ko_leaves_the_optimizer_alone():
    model, optimizer, ko = started()
    trained(model, optimizer, range(2))
    ko.detach()
    ko.collide()
    assert ko.step_count == 3
    optimizer.step()


@pytest.mark.parametrize("number", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["weight", "grad"])
def test_one_number_that_is_not_finite_spoils_its_own_row(number, where):
    weight, grad = 0.1 * torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    {"weight": weight, "grad": grad}[where][2, 1] = number
    others = [0, 1, 3, 4]
    soft, hard = soft_collision(weight, grad, 0.1), hard_collision(weight, grad, 1.0)
    torch.testing.assert_close(soft[others], soft_collision(weight[others], grad[others], 0.1))
    for collided in (soft, hard):
        torch.testing.assert_close(collided[2], grad[2], equal_nan=True)
    assert hard[others].isfinite().all()
    assert not torch.equal(hard[others], grad[others])
    torch.testing.assert_close(hard[others].sum(0), grad[others].sum(0))


def test_directions_are_those_of_the_finite_rows():
    weight, grad = 0.1 * torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    n = torch.nn.functional.normalize(torch.randn(4, 4, 3), dim=-1).tril(-1)
    n = n - n.transpose(0, 1)
    spoilt = grad.clone()
    spoilt[1] = math.nan
    others = [0, 2, 3]
    collided = hard_collision(weight, spoilt, 1.0, directions=n)[others]
    expected = hard_collision(weight[others], grad[others], 1.0, directions=n[others][:, others])
    torch.testing.assert_close(collided, expected)


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_the_scaler_skips_neither_collides_nor_counts(fused):
    model, optimizer, ko = started(make=lambda p, lr: torch.optim.Adam(p, lr=lr, fused=fused))
    plain_model, plain, _ = started()
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for step, spoilt in enumerate((False, True, False)):
        backward(model, step, scale=4.0)
        if spoilt:
            model[0].bias.grad[0] = float("inf")
        if scaler._scale is None:
            scaler._lazy_init_scale_growth_tracker(torch.device("cpu"))
        scaler.step(optimizer)
        scaler.update(4.0)
        if not spoilt:
            backward(plain_model, step)
            if step:  # the same directions: the skipped step did not count
                assert ko.step_count == 2
            plain.step()
    for ours, theirs in zip(model.parameters(), plain_model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("fused", [False, True])
def test_clipping_is_of_unscaled_gradients(fused):
    model, optimizer, _ = started("soft", 0.1, lambda p, lr: torch.optim.SGD(p, lr=lr, fused=fused), max_norm=0.01)
    plain_model, plain, _ = started("soft", 0.1, torch.optim.SGD, max_norm=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(torch.zeros(()))  # creates the scale
    backward(model, scale=1024.0)
    scaler.step(optimizer)
    trained(plain_model, plain, [0])
    for ours, theirs in zip(model.parameters(), plain_model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("flat", [False, True])
def test_distributed_checkpoint_carries_the_state(flat):
    options = StateDictOptions(flatten_optimizer_state_dict=flat)
    uninterrupted = trained(*started()[:2], range(6))
    model, optimizer, ko = started()
    trained(model, optimizer, range(3))
    saved, weights = copy.deepcopy(get_optimizer_state_dict(model, optimizer, options=options)), model.state_dict()
    other, resumed, again = started()
    other.load_state_dict(weights)
    set_optimizer_state_dict(other, resumed, saved, options=options)
    assert again.step_count == 3
    assert ko.step_count == 3
    assert all(torch.equal(*pair) for pair in zip(trained(other, resumed, range(3, 6)), uninterrupted, strict=True))


@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.SGD])
def test_the_step_that_initialises_an_optimizer_does_not_count(make):
    model, optimizer, ko = started(make=make)
    get_optimizer_state_dict(model, optimizer)
    assert ko.step_count == 0
    assert ko.relative_change == {}


def test_a_first_step_with_a_learning_rate_of_zero_counts():
    model, optimizer, ko = started(make=torch.optim.SGD)
    optimizer.param_groups[0]["lr"] = 0.0  # as in a warm-up
    backward(model)
    optimizer.step(closure=None)
    assert ko.step_count == 1


def test_dcp_save_and_load(tmp_path):
    import torch.distributed.checkpoint as dcp

    model, optimizer, _ = started()
    trained(model, optimizer, range(3))
    dcp.save({"optimizer": get_optimizer_state_dict(model, optimizer)}, checkpoint_id=tmp_path, no_dist=True)
    other, resumed, again = started()
    other.load_state_dict(model.state_dict())
    state = {"optimizer": get_optimizer_state_dict(other, resumed)}
    dcp.load(state, checkpoint_id=tmp_path, no_dist=True)
    set_optimizer_state_dict(other, resumed, state["optimizer"])
    assert again.step_count == 3
    assert all(
        torch.equal(*pair)
        for pair in zip(trained(other, resumed, range(3, 6)), trained(model, optimizer, range(3, 6)), strict=True)
    )


@pytest.mark.parametrize(("mode", "coll_coef", "what"), [("soft", 0.9, "mode='soft'"), ("hard", 0.8, "coll_coef=0.8")])
def test_state_of_another_ko_is_refused(mode, coll_coef, what):
    _, optimizer, _ = started()
    _, other, _ = started(mode, coll_coef)
    with pytest.raises(ValueError, match=f"{what}, but the state to load was saved with"):
        other.load_state_dict(optimizer.state_dict())


def test_state_of_before_the_parameter_groups_is_read():
    model, optimizer, ko = started()
    state = copy.deepcopy(optimizer.state_dict())
    for key in [key for key in state["param_groups"][0] if key.startswith("ko_")]:
        del state["param_groups"][0][key]
    optimizer.load_state_dict(state | {"ko": {"seed": 7, "step": 4, "mode": "hard"}})
    assert (ko.step_count, ko.seed) == (4, 7)
    trained(model, optimizer, range(1))
    assert ko.step_count == 5


def test_clipping_comes_after_the_collision():
    model, optimizer, ko = started("soft", 0.05, max_norm=0.01)
    backward(model)
    expected = {}
    for name, parameter in ko.params.items():
        expected[name] = soft_collision(parameter.detach(), parameter.grad, 0.05)
    norm = torch.stack([expected.get(n, p.grad).norm() for n, p in model.named_parameters()]).norm()
    optimizer.step()
    for name, parameter in ko.params.items():
        torch.testing.assert_close(parameter.grad, expected[name] * 0.01 / norm)
    with pytest.raises(ValueError, match="max_norm=0: a positive number is needed"):
        started(max_norm=0)


def test_repr_and_the_warning_about_large_changes():
    model, optimizer, ko = started("soft", 100.0)
    assert repr(ko) == "KO(mode=soft, coll_coef=100, 2 matrices, 0 steps)"
    with pytest.warns(UserWarning, match=r"KO changes the gradient of 0\.weight by \d+ times its norm"):
        trained(model, optimizer, range(1))
    trained(model, optimizer, range(2))  # a second warning would be an error
    assert "2 matrices, 3 steps, relative change" in repr(ko)


@pytest.mark.parametrize("mode", ["soft", "hard"])
def test_runs_on_meta_tensors(mode):
    with torch.device("meta"):
        model, optimizer, ko = started(mode, 0.1)
        model(torch.empty(3, 6)).sum().backward()
        optimizer.step()
    assert repr(ko) == f"KO(mode={mode}, coll_coef=0.1, 2 matrices, 1 steps)"
