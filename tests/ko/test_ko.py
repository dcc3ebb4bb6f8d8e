"""KO's two collisions, against loops, and how they attach to optimizers."""

import copy
import math

import pytest
import torch
from ko_cases import backward, hard_by_loops, matrices, network, soft_by_loops, trained, unit_vectors
from torch import nn

import kiti.ko.gradient_collisions
from kiti.ko import KO, hard_collision, select, soft_collision
from kiti.ko.gradient_collisions import hard_collision_and_pairs


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("entries", [1, 11, 1 << 22])  # cosines held at once: one row, two rows, all
def test_soft_equals_loops(monkeypatch, include_self, normalize, entries):
    monkeypatch.setattr(kiti.ko.gradient_collisions, "_ENTRIES", entries)
    w, g = matrices()
    options = {"include_self": include_self, "normalize": normalize}
    torch.testing.assert_close(soft_collision(w, g, 0.3, **options), soft_by_loops(w, g, 0.3, **options))


@pytest.mark.parametrize("c", [0.4, 0.7, 1.0])
@pytest.mark.parametrize("approach_only", [True, False])
@pytest.mark.parametrize("d", [1, 4])
def test_hard_equals_loops(c, approach_only, d):
    w, g = matrices(9, d, scale=0.1)
    n = unit_vectors(9, d)
    expected, pairs = hard_by_loops(w, g, c, n, approach_only)
    assert 0 < pairs <= 72
    if approach_only and c == 1:
        assert pairs < hard_by_loops(w, g, c, n)[1]
    collided, accepted = hard_collision_and_pairs(w, g, c, directions=n, approach_only=approach_only)
    torch.testing.assert_close(collided, expected)
    assert accepted == pairs / 2  # the loops count (i, j) and (j, i)


def test_zero_coefficient_changes_nothing():
    w, g = matrices()
    assert torch.equal(soft_collision(w, g, 0.0), g)
    assert torch.equal(hard_collision(w, g, 0.0), g)


def test_hard_conserves_the_sum_and_moves_single_gradients():
    w, g = matrices(30, 6, scale=0.1)
    collided = hard_collision(w, g, 0.9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(collided.sum(0), g.sum(0))
    assert not torch.allclose(collided, g)


def test_hard_draws_the_same_in_every_call_with_the_same_generator_state():
    w, g = matrices(8)
    first, second = (hard_collision(w, g, 0.9, generator=torch.Generator().manual_seed(s)) for s in (3, 3))
    assert torch.equal(first, second)
    assert not torch.equal(first, hard_collision(w, g, 0.9, generator=torch.Generator().manual_seed(4)))


def test_condensed_neurons_are_scaled_by_their_count():
    w, g = (row.expand(6, 4).contiguous() for row in (matrices()[0][0], matrices()[1][0]))
    torch.testing.assert_close(soft_collision(w, g, 0.3), (1 - 0.3 * 6) * g)
    torch.testing.assert_close(soft_collision(w, g, 0.3, normalize=True), (1 - 0.3) * g)
    assert torch.equal(hard_collision(w, g, 1.0), g)  # equal gradients: max(g_r) = 0, no pair


def test_soft_of_a_two_class_head_is_a_scaling():
    """Softmax cross-entropy gives g_2 = -g_1, so soft multiplies by 1 - c(1 + cos(w_1, w_2)) (A27)."""
    torch.manual_seed(0)
    head = nn.Linear(7, 2).double()
    loss = nn.functional.cross_entropy(head(torch.randn(9, 7).double()), torch.randint(2, (9,)))
    loss.backward()
    w, g = head.weight.detach(), head.weight.grad
    factor = 1 - 0.4 * (1 + torch.cosine_similarity(w[0], w[1], dim=0))
    torch.testing.assert_close(soft_collision(w, g, 0.4), factor * g)


def test_hard_of_a_two_class_head_is_noise_of_the_same_length():
    w, g = matrices(2, 5, scale=0.01)
    g = torch.stack([g[0], -g[0]])
    collided = hard_collision(w, g, 0.5)
    torch.testing.assert_close(collided.norm(dim=1), g.norm(dim=1))
    torch.testing.assert_close(collided[0], -collided[1])


def test_zero_rows_are_unchanged_and_do_not_spread():
    w, g = matrices()
    w[1], g[3] = 0, 0
    collided = soft_collision(w, g, 0.3)
    torch.testing.assert_close(collided, soft_by_loops(w, g, 0.3))
    assert torch.equal(collided[1], g[1])
    assert torch.equal(collided[3], g[3])
    assert hard_collision(w, g, 0.9).isfinite().all()
    assert torch.equal(soft_collision(w, 0 * g, 0.3), 0 * g)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    w, g = matrices(40, 6, scale=0.1, dtype=dtype)
    n = unit_vectors(40, 6).float()
    for half, single in [
        (soft_collision(w, g, 0.1), soft_collision(w.float(), g.float(), 0.1)),
        (hard_collision(w, g, 0.9, directions=n), hard_collision(w.float(), g.float(), 0.9, directions=n)),
    ]:
        assert half.dtype == dtype
        assert torch.equal(half, single.to(dtype))
    expected = soft_collision(w.float(), g.float(), 0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(soft_collision(w.float(), g.float(), 0.1), expected)


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, weight_decay=0.01),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("attach", [True, False])
def test_ko_changes_gradients_before_the_optimizer_step(make, attach):
    ours, manual = network(), network()
    optimizer, reference = make(ours.parameters()), make(manual.parameters())
    ko = KO(optimizer, select(ours, ["0.weight", "2.*weight"]), "soft", 0.2, attach=attach)
    for step in range(3):
        backward(ours, step)
        backward(manual, step)
        for layer in (manual[0], manual[2]):
            before = layer.weight.grad.clone()
            layer.weight.grad = soft_collision(layer.weight, before, 0.2)
        if not attach:
            ko.collide()
        optimizer.step()
        reference.step()
    for a, b in zip(ours.parameters(), manual.parameters(), strict=True):
        assert torch.equal(a, b)
    assert ko.step_count == 3
    change = (manual[2].weight.grad - before).norm() / before.norm()
    torch.testing.assert_close(ko.relative_change["2.weight"], change)
    assert set(ko.relative_change) == {"0.weight", "2.weight"}


def test_pairs_of_a_hard_collision_are_a_mean_over_replicas():
    w, g = (torch.stack([one, two]) for one, two in zip(matrices(9, scale=0.1), matrices(9, scale=0.2), strict=True))
    layer = nn.Parameter(w)
    optimizer = torch.optim.SGD([layer], lr=0.1)
    ko = KO(optimizer, {"weight": layer}, "hard", 0.6, replicas=2, attach=False)
    layer.grad = g.clone()
    ko.collide()
    counts = [hard_collision_and_pairs(one, two, 0.6)[1] for one, two in zip(w, g, strict=True)]
    assert ko.pairs == {"weight": sum(counts) / 2}
    assert sum(counts) > 0
    layer.grad = None
    ko.collide()
    assert ko.pairs == {}


def test_hard_training_resumes_bit_for_bit(tmp_path):
    def start(seed=11):
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        return model, optimizer, KO(optimizer, select(model, "*.weight"), "hard", 0.9, seed=seed)

    model, optimizer, _ = start()
    uninterrupted = trained(model, optimizer, range(10))
    model, optimizer, ko = start()
    trained(model, optimizer, range(5))
    assert ko.state_dict() == {"seed": 11, "step": 5, "mode": "hard", "coll_coef": 0.9}
    assert optimizer.state_dict()["param_groups"][0].items() >= {"ko_step": 5, "ko_seed": 11, "ko_hard": 1}.items()
    torch.save({"model": model.state_dict(), "optimizer": copy.deepcopy(optimizer.state_dict())}, tmp_path / "at5.pt")

    state = torch.load(tmp_path / "at5.pt", weights_only=True)
    for seed in (11, 12):  # the seed is part of the state
        model, optimizer, ko = start(seed)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))  # torch does not copy this
        assert ko.step_count == 5
        again = trained(model, optimizer, range(5, 10))
        assert all(torch.equal(a, b) for a, b in zip(uninterrupted, again, strict=True))

    model, optimizer, ko = start()  # without KO's state the directions differ
    model.load_state_dict(state["model"])
    for key in [key for key in state["optimizer"]["param_groups"][0] if key.startswith("ko_")]:
        del state["optimizer"]["param_groups"][0][key]
    optimizer.load_state_dict(state["optimizer"])
    assert ko.step_count == 0
    other = trained(model, optimizer, range(5, 10))
    assert not all(torch.equal(a, b) for a, b in zip(uninterrupted, other, strict=True))


def test_state_of_the_other_mode_is_rejected():
    model = network()
    ko = KO(torch.optim.SGD(model.parameters()), select(model, "0.weight"), "soft", 0.1)
    with pytest.raises(ValueError, match="mode='soft', but the state to load was saved with mode='hard'"):
        ko.load_state_dict({"seed": 0, "step": 3, "mode": "hard"})


def test_global_random_state_is_not_used_or_changed():
    results = []
    for global_seed in (1, 2):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        KO(optimizer, select(model, "*.weight"), "hard", 0.9, seed=5)
        torch.manual_seed(global_seed)
        before = torch.random.get_rng_state()
        results.append(trained(model, optimizer, range(3)))
        assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_directions_depend_on_step_parameter_and_seed():
    def collided(seed, steps):
        a, b = (nn.Parameter(matrices(6, 3, dtype=torch.float32)[0]) for _ in range(2))
        ko = KO(torch.optim.SGD([a, b]), {"a": a, "b": b}, "hard", 0.9, seed=seed, attach=False)
        for _ in range(steps):
            a.grad, b.grad = (matrices(6, 3, dtype=torch.float32)[1] for _ in range(2))
            ko.collide()
        return a.grad, b.grad

    a, b = collided(0, 1)
    assert torch.equal(a, collided(0, 1)[0])
    assert not torch.equal(a, b)
    assert not torch.equal(a, collided(0, 2)[0])
    assert not torch.equal(a, collided(1, 1)[0])


@pytest.mark.parametrize("mode", ["soft", "hard"])
def test_convolution_neurons_are_along_the_first_dimension(mode):
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 5, 3).to(memory_format=torch.channels_last)
    conv(torch.randn(4, 2, 6, 6)).square().sum().backward()
    grad = conv.weight.grad.clone()
    KO(torch.optim.SGD(conv.parameters()), [("w", conv.weight)], mode, 0.9, attach=False).collide()
    assert conv.weight.grad.shape == grad.shape
    if mode == "soft":
        expected = soft_collision(conv.weight.detach().flatten(1), grad.flatten(1), 0.9).view_as(grad)
        torch.testing.assert_close(conv.weight.grad, expected)
    else:
        torch.testing.assert_close(conv.weight.grad.sum(0), grad.sum(0), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(conv.weight.grad, grad)


def test_missing_gradients_are_skipped():
    model = network()
    ko = KO(torch.optim.SGD(model.parameters()), select(model, "*.weight"), "soft", 0.1, attach=False)
    model[0](torch.randn(2, 4)).sum().backward()
    ko.collide()
    assert list(ko.relative_change) == ["0.weight"]
    assert model[2].weight.grad is None


def test_detached_ko_leaves_gradients_unchanged():
    model, plain = network(), network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    ko = KO(optimizer, select(model, "*.weight"), "soft", 0.5)
    ko.detach()
    got = trained(model, optimizer, range(2))
    expected = trained(plain, torch.optim.SGD(plain.parameters(), lr=0.05), range(2))
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
    assert not any(key.startswith("ko_") for key in optimizer.state_dict()["param_groups"][0])
    assert ko.step_count == 0


def test_select_returns_matches_in_model_order():
    assert list(select(network(), ["2.*", "0.weight"])) == ["0.weight", "2.weight", "2.bias"]
    assert list(select(network().named_parameters(), "*.weight")) == ["0.weight", "2.weight"]


def test_select_suggests_close_matches():
    with pytest.raises(ValueError, match=r"pattern '2.wieght' matches no parameter; closest names: 2.weight"):
        select(network(), ["0.weight", "2.wieght"])


def test_errors_name_argument_value_and_fix():
    model = network()
    optimizer = torch.optim.SGD(model.parameters())
    weights = select(model, "*.weight")
    w, g = matrices()

    def check_error(message, call, *args, **kwargs):
        with pytest.raises(ValueError, match=message):
            call(*args, **kwargs)

    check_error("mode='firm': one of 'soft', 'hard'", KO, optimizer, weights, "firm", 0.1)
    check_error("coll_coef=2.0: a number in", KO, optimizer, weights, "hard", 2.0)
    check_error("coll_coef=-1.0: a finite number", KO, optimizer, weights, "soft", -1.0)
    check_error("params is empty", KO, optimizer, {}, "soft", 0.1)
    check_error(r"'0.bias' has shape \(8,\)", KO, optimizer, select(model, "0.bias"), "soft", 0.1)
    check_error("'0.weight' is not among those of the SGD", KO, optimizer, select(network(1), "0.weight"), "soft", 0.1)
    lbfgs = torch.optim.LBFGS(model.parameters())
    check_error("attach=True: LBFGS", KO, lbfgs, weights, "soft", 0.1)
    assert KO(lbfgs, weights, "soft", 0.1, attach=False).step_count == 0
    KO(optimizer, weights, "soft", 0.1)
    check_error("step was given a closure", optimizer.step, lambda: 0.0)

    check_error("coll_coef=nan: a finite number", soft_collision, w, g, math.nan)
    check_error("coll_coef=1.1: a number in", hard_collision, w, g, 1.1)
    check_error("weight and grad differ in shape", soft_collision, w, g[:3], 0.1)
    check_error("weight and grad differ in dtype", hard_collision, w, g.float(), 0.1)
    check_error(r"weight has shape \(4,\): \(N, D\) is needed", soft_collision, w[0], g[0], 0.1)
    check_error(r"directions has shape .*: \(5, 5, 4\)", hard_collision, w, g, 0.1, directions=torch.zeros(5, 5, 3))

    embedding = nn.Embedding(5, 3, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    ko = KO(torch.optim.SGD(embedding.parameters()), embedding.named_parameters(), "soft", 0.1)
    check_error("gradient of 'weight' has layout torch.sparse_coo", ko.collide)
