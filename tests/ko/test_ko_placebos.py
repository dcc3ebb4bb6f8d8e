"""Placebos of KO: by their definitions, and each as large as the collision it stands for."""

import copy

import pytest
import torch
from ko_cases import backward, hard_by_loops, matrices, network, soft_by_loops, trained, unit_vectors
from random_pair_cases import plain_pairs
from torch import nn

from kiti.collision.directions import draw_seed, mix
from kiti.configuration.compose import compose
from kiti.ko import KO, hard_collision, select, soft_collision
from kiti.ko.gradient_collisions import hard_collision_and_pairs, soft_collision_relabelled
from kiti.ko.placebos import PLACEBOS, noise_for, scaled_as

MODES = {"soft": 0.2, "hard": 0.75}


def seeded(seed=4):
    return torch.Generator().manual_seed(seed)


def by_ko(mode, placebo, grad, weight, steps=1, seed=0, coll_coef=None, **options):
    """The gradient after the last of `steps` calls of KO, each on the same gradient, and the KO."""
    layer = nn.Parameter(weight.clone())
    coll_coef = MODES[mode] if coll_coef is None else coll_coef
    optimizer = torch.optim.SGD([layer], lr=0.1)
    ko = KO(optimizer, {"w": layer}, mode, coll_coef, seed=seed, placebo=placebo, attach=False, **options)
    for _ in range(steps):
        layer.grad = grad.clone()
        ko.collide()
    return layer.grad, ko


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("d", [1, 5])
def test_noise_is_as_long_as_the_change_in_each_row_and_elsewhere_nothing(mode, d):
    w, g = matrices(12, d, scale=0.3)
    w[3] += 100  # collides with none
    change, noise = (by_ko(mode, placebo, g, w)[0] - g for placebo in (None, "noise"))
    torch.testing.assert_close(noise.norm(dim=1), change.norm(dim=1))
    touched = change.abs().amax(1) > 0
    assert torch.equal(noise.abs().amax(1) > 0, touched)
    assert mode == "soft" or 0 < touched.sum() < 12
    assert not torch.allclose(noise, change)


@pytest.mark.parametrize("mode", MODES)
def test_noise_has_no_direction_and_a_stream_of_its_own(mode):
    w, g = matrices(40, 60, scale=0.02)
    change = by_ko(mode, None, g, w)[0] - g
    noise, again, later, other = (
        by_ko(mode, "noise", g, w, **options)[0] - g for options in ({}, {}, {"steps": 2}, {"seed": 1})
    )
    assert torch.equal(noise, again)
    for different in (change, later, other):
        cosine = (noise * different).sum() / (noise.norm() * different.norm())
        assert abs(cosine) < 5 * 2400**-0.5
    before = torch.random.get_rng_state()
    by_ko(mode, "noise", g, w)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("mode", MODES)
def test_scale_is_the_gradient_at_the_length_that_the_collision_gives_it(mode):
    w, g = matrices(12, 5, scale=0.3)
    collided, scaled = (by_ko(mode, placebo, g, w)[0] for placebo in (None, "scale"))
    torch.testing.assert_close(scaled, collided.norm() / g.norm() * g)
    assert not torch.allclose(scaled, g)
    assert torch.equal(by_ko(mode, "scale", 0 * g, w)[0], 0 * g)


@pytest.mark.parametrize("approach_only", [False, True])
def test_random_pairs_of_hard_are_as_many_and_collide_as_the_accepted_ones(approach_only):
    w, g = matrices(9, 4, scale=0.1)
    n = unit_vectors(9, 4)
    options = {"directions": n, "generator": seeded(), "approach_only": approach_only}
    _, accepted = hard_collision_and_pairs(w, g, 0.6, **options)
    drawn, pairs = hard_collision_and_pairs(w, g, 0.6, random_pairs=True, **options | {"generator": seeded()})
    assert pairs == accepted > 0
    expected = g.clone()
    for i, j in plain_pairs(int(draw_seed(seeded())), 0, 9, pairs):
        kick = (g[j] - g[i] + (g[j] - g[i]).norm() * n[i, j]) / 2
        expected[i] += kick
        expected[j] -= kick
    torch.testing.assert_close(drawn, expected)
    torch.testing.assert_close(drawn.sum(0), g.sum(0))
    assert not torch.allclose(drawn, hard_by_loops(w, g, 0.6, n, approach_only)[0])


def test_all_pairs_of_hard_at_random_are_all_pairs():
    w, g = matrices(9, 4, scale=0.001)
    true, pairs = hard_collision_and_pairs(w, g, 1.0, generator=seeded())
    drawn, same = hard_collision_and_pairs(w, g, 1.0, generator=seeded(), random_pairs=True)
    assert pairs == same == 36
    torch.testing.assert_close(drawn, true)


@pytest.mark.parametrize("include_self", [True, False])
def test_random_pairs_of_soft_are_the_same_similarities_between_other_neurons(include_self):
    w, g = matrices(7, 4)
    options = {"include_self": include_self}
    order = torch.randperm(7, generator=torch.Generator().manual_seed(int(draw_seed(seeded()))))
    assert not torch.equal(order, torch.arange(7))
    of_w, of_g = (torch.cosine_similarity(each[:, None], each[None], dim=-1) for each in (w, g))
    similar = of_w * of_g
    if not include_self:
        similar.fill_diagonal_(0)
    torch.testing.assert_close(g - 0.3 * similar @ g, soft_by_loops(w, g, 0.3, **options))
    expected = g - 0.3 * similar[order][:, order] @ g
    torch.testing.assert_close(soft_collision_relabelled(w, g, 0.3, seeded(), **options), expected)
    identity = soft_collision_relabelled(w, g, 0.3, None, **options)
    assert torch.equal(identity, soft_collision(w, g, 0.3, **options))


def test_ko_draws_from_seed_step_and_parameter():
    w, g = matrices(9, 4, scale=0.1)
    generator = torch.Generator().manual_seed(mix(5, 0, 0))
    expected = hard_collision_and_pairs(w, g, 0.75, generator=generator, random_pairs=True)
    drawn, ko = by_ko("hard", "random_pairs", g, w, seed=5)
    assert torch.equal(drawn, expected[0])
    assert ko.pairs == {"w": expected[1]}
    assert not torch.equal(drawn, by_ko("hard", "random_pairs", g, w, seed=5, steps=2)[0])
    expected = soft_collision_relabelled(w, g, 0.2, torch.Generator().manual_seed(mix(5, 0, 0)))
    assert torch.equal(by_ko("soft", "random_pairs", g, w, seed=5)[0], expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("placebo", PLACEBOS)
def test_replicas_are_runs_of_their_own(mode, placebo):
    first, second = matrices(9, 4, scale=0.1), matrices(9, 4, scale=0.1, seed=1)
    w, g = (torch.stack(pair) for pair in zip(first, second, strict=True))
    together, _ = by_ko(mode, placebo, g, w, seed=3, replicas=2)
    for replica in range(2):
        alone, _ = by_ko(mode, placebo, g[replica], w[replica], seed=3 + replica)
        torch.testing.assert_close(together[replica], alone)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("placebo", PLACEBOS)
def test_a_row_that_is_not_finite_stays_and_does_not_spread(mode, placebo):
    w, g = matrices(9, 4, scale=0.1)
    g[2, 1] = torch.nan
    changed, _ = by_ko(mode, placebo, g, w)
    assert torch.equal(changed[2].isnan(), g[2].isnan())
    others = [row for row in range(9) if row != 2]
    assert changed[others].isfinite().all()
    assert not torch.allclose(changed[others], g[others])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    w, g = matrices(20, 6, scale=0.1, dtype=dtype)
    collided = soft_collision(w, g, 0.1)
    for half, single in [
        (noise_for(g, collided, seeded()), noise_for(g.float(), collided.float(), seeded())),
        (scaled_as(g, collided), scaled_as(g.float(), collided.float())),
    ]:
        assert half.dtype == dtype
        assert torch.equal(half, single.to(dtype))


@pytest.mark.parametrize("placebo", PLACEBOS)
def test_meta_gradients_have_shapes_only(placebo):
    g = torch.empty(5, 4, device="meta")
    for mode in MODES:
        assert by_ko(mode, placebo, g, g)[0].shape == (5, 4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("placebo", PLACEBOS)
def test_training_resumes_bit_for_bit(mode, placebo):
    def start():
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        ko = KO(optimizer, select(model, "*.weight"), mode, 0.1 if mode == "soft" else 0.9, seed=11, placebo=placebo)
        return model, optimizer, ko

    model, optimizer, _ = start()
    uninterrupted = trained(model, optimizer, range(6))
    model, optimizer, ko = start()
    trained(model, optimizer, range(3))
    assert ko.state_dict()["placebo"] == placebo
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    model, optimizer, ko = start()
    model.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[1])
    assert ko.step_count == 3
    again = trained(model, optimizer, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(uninterrupted, again, strict=True))


def test_the_state_names_the_placebo_and_is_refused_by_another():
    _, plain = by_ko("hard", None, *reversed(matrices()))
    assert "placebo" not in plain.state_dict()
    assert not any("placebo" in key for key in plain.optimizer.state_dict()["param_groups"][0])
    _, noisy = by_ko("hard", "noise", *reversed(matrices()))
    with pytest.raises(ValueError, match="placebo=None, but the state to load was saved with placebo='noise'"):
        plain.load_state_dict(noisy.state_dict())
    with pytest.raises(ValueError, match="placebo='noise', but the state to load was saved with placebo=None"):
        noisy.load_state_dict(plain.state_dict())
    with pytest.raises(ValueError, match="placebo='noise', but the state to load"):
        noisy.optimizer.load_state_dict(plain.optimizer.state_dict())
    assert "placebo=noise" in repr(noisy)
    noisy.detach()
    assert not any(key.startswith("ko_") for key in noisy.optimizer.param_groups[0])


def test_a_placebo_is_attached_as_a_collision_is():
    ours, manual = network(), network()
    optimizer, reference = (torch.optim.SGD(model.parameters(), lr=0.05) for model in (ours, manual))
    KO(optimizer, select(ours, "0.weight"), "soft", 0.2, placebo="scale")
    for step in range(2):
        backward(ours, step)
        backward(manual, step)
        weight = manual[0].weight
        weight.grad = scaled_as(weight.grad, soft_collision(weight.detach(), weight.grad, 0.2))
        optimizer.step()
        reference.step()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), manual.parameters(), strict=True))


def test_an_unknown_placebo_is_named():
    with pytest.raises(ValueError, match="placebo='sugar': one of 'noise', 'random_pairs', 'scale' is needed"):
        by_ko("soft", "sugar", *reversed(matrices()))


def test_the_key_is_neutral_at_its_default():
    for mode in MODES:
        run = ["experiment=burgers", f"collision={mode}"]
        assert compose([*run, "collision.placebo=null"]).hash == compose(run).hash
        hashes = {compose([*run, f"collision.placebo={placebo}"]).hash for placebo in PLACEBOS}
        assert len(hashes | {compose(run).hash}) == 1 + len(PLACEBOS)


def test_hard_noise_is_of_the_collision_that_ko_would_have_made():
    w, g = matrices(9, 4, scale=0.1)
    generator = torch.Generator().manual_seed(mix(0, 0, 0))
    expected = noise_for(g, hard_collision(w, g, 0.75, generator=generator), generator)
    assert torch.equal(by_ko("hard", "noise", g, w)[0], expected)
