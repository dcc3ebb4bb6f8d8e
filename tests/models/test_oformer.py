"""OFormer against its formulas point by point; its published size, masks and seams."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from kiti.models.galerkin_attention import FourierFeatures, GalerkinAttention
from kiti.models.oformer import OFormer, Scaling
from kiti.residual import Add, KITIResidual
from kiti.seams.watching import Directions

SMALL = {"t_in": 2, "width": 8, "n_layers": 3, "points": 3}
COLLIDING = partial(KITIResidual, 2, 0.9)


def flow(batch: int = 2, points: int = 7, there: tuple[int, ...] = (7, 5), seed: int = 0):
    """(frames, positions, kind, mask): `there` points per sample, zeros elsewhere."""
    draw = torch.Generator().manual_seed(seed)
    mask = torch.arange(points) < torch.tensor(there).unsqueeze(1)
    frames = torch.randn(batch, 2, points, 4, generator=draw) * mask[:, None, :, None]
    positions = torch.randn(batch, points, 2, generator=draw) * mask[..., None]
    kind = torch.randint(3, (batch, points), generator=draw) * mask
    return frames, positions, kind, mask


def turned_by_hand(features, at, turns):
    """Each pair (i, i + a quarter) of each half as a complex number, times e^(i angle)."""
    quarter = len(turns)
    out = np.empty_like(features)
    for axis in range(2):
        half = features[2 * quarter * axis : 2 * quarter * (axis + 1)]
        spun = (half[:quarter] + 1j * half[quarter:]) * np.exp(1j * at[axis] * turns)
        out[2 * quarter * axis : 2 * quarter * (axis + 1)] = np.concatenate([spun.real, spun.imag])
    return out


def attention_by_hand(module, query_x, query_at, key_x, key_at):
    """One sample without masked points: sum over pairs of points of (q_i · k_j) v_j / n."""
    p = {name: value.numpy() for name, value in module.state_dict().items()}
    turns, width = module.turns.numpy(), module.head_width
    out = []
    for head in range(module.heads):
        rows = slice(head * width, (head + 1) * width)
        q, k, v = (
            x @ p[f"{name}.weight"][rows].T for name, x in (("query", query_x), ("key", key_x), ("value", key_x))
        )
        k, v = ((x.T - x.mean(1)).T / np.sqrt(x.var(1) + 1e-5)[:, None] for x in (k, v))
        q = np.array([turned_by_hand(row, place, turns) for row, place in zip(q, query_at, strict=True)])
        k = np.array([turned_by_hand(row, place, turns) for row, place in zip(k, key_at, strict=True)])
        out.append(np.array([sum((a @ b) * c for b, c in zip(k, v, strict=True)) / len(k) for a in q]))
    joined = np.concatenate(out, axis=1)
    return joined @ p["out.weight"].T + p["out.bias"] if "out.weight" in p else joined


@pytest.mark.parametrize(("heads", "head_width"), [(1, 8), (2, 4), (3, 8)])
def test_attention_matches_its_sum_over_pairs(heads, head_width):
    module = GalerkinAttention(8, heads, head_width, turns=5.0).double().requires_grad_(False)
    query_x, key_x = torch.randn(1, 4, 8).double(), torch.randn(1, 6, 8).double()
    query_at, key_at = torch.randn(1, 4, 2).double(), torch.randn(1, 6, 2).double()
    ours = module(query_x, query_at, key_x, key_at, torch.ones(1, 6, dtype=torch.bool))
    expected = attention_by_hand(module, *(t[0].numpy() for t in (query_x, query_at, key_x, key_at)))
    np.testing.assert_allclose(ours[0].numpy(), expected, atol=1e-10)


def test_attention_sees_only_relative_positions():
    module = GalerkinAttention(8, turns=5.0).double()
    features, at, mask = torch.randn(1, 6, 8).double(), torch.randn(1, 6, 2).double(), torch.ones(1, 6).bool()
    moved = at + torch.tensor([0.3, -2.0])
    torch.testing.assert_close(module(features, at, features, at, mask), module(features, moved, features, moved, mask))
    assert not torch.allclose(module(features, at, features, at, mask), module(features, at, features, moved, mask))


def test_attention_is_initialised_as_by_the_authors():
    """Queries of self-attention: (orthogonal + identity) / width; the decoder's keys and values likewise."""
    encoder, decoder = GalerkinAttention(8, turns=1.0), GalerkinAttention(8, 2, 8, turns=1.0, self_attention=False)
    for rows in (encoder.query.weight, *decoder.key.weight.split(8), *decoder.value.weight.split(8)):
        rotation = rows.detach() * 8 - torch.eye(8)
        torch.testing.assert_close(rotation @ rotation.T, torch.eye(8), atol=1e-5, rtol=0)
    rotation = encoder.key.weight.detach() * 8 - torch.eye(8)
    assert not torch.allclose(rotation @ rotation.T, torch.eye(8), atol=0.1)


def test_fourier_features():
    module = FourierFeatures(6, scale=2.0)
    at = torch.randn(1, 3, 2)
    angles = 2 * np.pi * at.numpy() @ module.frequencies.numpy()
    np.testing.assert_allclose(module(at).numpy(), np.concatenate([np.sin(angles), np.cos(angles)], -1), atol=1e-5)
    assert "frequencies" in module.state_dict(), "the drawn frequencies are part of the state"
    assert FourierFeatures(20000, scale=2.0).frequencies.std().item() == pytest.approx(2.0, rel=0.03)


def test_published_size():
    """The authors' script's count of trainable numbers for the airfoil, 128 wide, 4 layers."""
    width = 128
    feed_forward = width * 2 * width + 2 * width + width * width + width
    layer = 2 * 2 * width + 3 * width * width + feed_forward
    encoder = 24 * width + width**2 + 3 * width + 2 * width**2 + 4 * layer + 2 * width + 2 * width**2
    cross = 3 * width * 4 * width + 4 * width * width + width + feed_forward
    propagator = 4 * width + (3 * width + 2) * 2 * width + 3 * 4 * width**2
    head = 4 * width + 3 * width * 2 * width + 2 * width**2 + 4 * width + 4
    decoder = 3 * width + 2 * width**2 + 2 * width**2 + cross + 3 * width**2 + 2 * width**2 + propagator + head
    assert sum(p.numel() for p in OFormer().parameters()) == encoder + decoder


def test_masked_points_never_influence_others():
    """Whatever their values and number, outputs and gradients of the other points do not change."""
    for residual in (Add, COLLIDING, partial(KITIResidual, 2, 0.9, max_over="batch")):
        torch.manual_seed(0)
        model = OFormer(**SMALL, propagator_seam=True, residual=residual)
        model.decoder.dropout = nn.Identity()  # its random numbers depend on batch position, masked or not
        frames, positions, kind, mask = flow()
        filled = torch.where(mask[:, None, :, None], frames, 1e3 * torch.randn_like(frames))
        elsewhere = torch.where(mask[..., None], positions, torch.randn_like(positions))
        more = [nn.functional.pad(t, pad) for t, pad in ((filled, (0, 0, 0, 3)), (elsewhere, (0, 0, 0, 3)))]
        other = nn.functional.pad(torch.where(mask, kind, 2), (0, 3)), nn.functional.pad(mask, (0, 3))
        results = []
        for inputs in ((frames, positions, kind, mask), (*more, *other)):
            Directions(model, seed=1)
            model.zero_grad()
            prediction = model(*inputs, 2).transpose(1, 2)[inputs[3]]  # (unmasked points, steps, C)
            prediction.square().sum().backward()
            results.append((prediction.detach(), [p.grad.clone() for p in model.parameters()]))
        torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-5)


def test_masked_points_get_no_gradient():
    model = OFormer(**SMALL)
    frames, positions, kind, mask = flow()
    frames.requires_grad_()
    model(frames, positions, kind, mask, 2).transpose(1, 2)[mask].square().sum().backward()
    assert (frames.grad.transpose(1, 2)[~mask] == 0).all()
    assert (frames.grad.transpose(1, 2)[mask] != 0).any()


def test_the_order_of_points_does_not_matter():
    model = OFormer(**SMALL).eval()
    frames, positions, kind, mask = flow(there=(7, 7))
    order = torch.randperm(7)
    prediction = model(frames, positions, kind, mask, 2)
    shuffled = model(frames[:, :, order], positions[:, order], kind[:, order], mask, 2)
    torch.testing.assert_close(shuffled, prediction[:, :, order], rtol=1e-4, atol=1e-5)


def test_decoder_steps_are_sequential():
    """Later frames do not change earlier ones: three steps begin with the same two."""
    model = OFormer(**SMALL).eval()
    inputs = flow()
    torch.testing.assert_close(model(*inputs, 3)[:, :2], model(*inputs, 2))


def test_a_system_is_a_point_and_the_shortcut_is_the_normalised_one():
    model = OFormer(**SMALL, residual=COLLIDING)
    seen = []
    for module in model.modules():
        if isinstance(module, KITIResidual):
            module.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs))
    model(*flow(), 2)
    assert [tuple(x.shape) for x, _v in seen] == [(12, 8)] * 6, "two seams per layer, 7 + 5 points, none in the decoder"
    for x, _v in seen:
        torch.testing.assert_close(x.mean(-1), torch.zeros(12), atol=1e-5, rtol=0)
        torch.testing.assert_close(x.std(-1, correction=0), torch.ones(12), atol=1e-2, rtol=0)


def test_the_decoder_collides_only_when_asked():
    seams = [name for name, m in OFormer(**SMALL, residual=COLLIDING).named_modules() if isinstance(m, KITIResidual)]
    assert all(name.startswith("encoder.") for name in seams)
    enabled = OFormer(**SMALL, propagator_seam=True, residual=COLLIDING)
    assert isinstance(enabled.decoder.residual, KITIResidual)


def test_a_trained_kiti_oformer_loads_as_a_vanilla_one():
    colliding, vanilla = OFormer(**SMALL, residual=COLLIDING).eval(), OFormer(**SMALL).eval()
    vanilla.load_state_dict(colliding.state_dict(), strict=True)
    inputs = flow()
    assert torch.equal(colliding(*inputs, 3), vanilla(*inputs, 3))


def test_every_parameter_gets_a_gradient():
    torch.manual_seed(0)
    model = OFormer(**SMALL, residual=COLLIDING)
    model(*flow(), 3).transpose(1, 2)[flow()[3]].square().sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent


def test_scaling_uses_only_unmasked_points():
    frames, positions, _kind, mask = flow(there=(7, 4))
    scaling = Scaling(4)
    filled = torch.where(mask[:, None, :, None], frames, 1e6)
    scaling.fit(filled, torch.where(mask[..., None], positions, 1e6), mask)
    there = frames.transpose(1, 2)[mask]  # (points, T, C)
    torch.testing.assert_close(scaling.mean, there.mean((0, 1)))
    torch.testing.assert_close(scaling.std, there.std((0, 1), correction=0))
    torch.testing.assert_close(scaling.corner, positions[mask].amin(0))
    torch.testing.assert_close(scaling.corner + scaling.extent, positions[mask].amax(0))
    torch.testing.assert_close(scaling.physical(scaling.normalised(frames)), frames)
