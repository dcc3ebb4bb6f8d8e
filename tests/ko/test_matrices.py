"""Which matrices collide and along which axis: the layer decides."""

import pytest
import timm
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from kiti.ko import KO, Matrices, matrices, soft_collision
from kiti.ko.matrices import Neurons, named

GPT2 = {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 8, "vocab_size": 11}


def collided_by_hand(weight, grad, blocks):
    """Soft collisions within each block of rows."""
    parts = zip(weight.chunk(blocks), grad.chunk(blocks), strict=True)
    return torch.cat([soft_collision(w, g, 0.1) for w, g in parts])


@pytest.mark.parametrize(
    ("layer", "name", "rows"),
    [
        (nn.Linear(3, 4), "weight", lambda w: w),
        (nn.Conv1d(3, 4, 2), "weight", lambda w: w.flatten(1)),
        (nn.Conv2d(4, 6, 3, groups=2), "weight", lambda w: w.flatten(1)),
        (nn.Conv3d(2, 4, 2), "weight", lambda w: w.flatten(1)),
        (nn.ConvTranspose1d(3, 4, 2), "weight", lambda w: w.transpose(0, 1).flatten(1)),
        (nn.ConvTranspose2d(3, 4, 2), "weight", lambda w: w.transpose(0, 1).flatten(1)),
        (
            nn.ConvTranspose2d(4, 6, 2, groups=2),  # weight (4, 3, 2, 2): outputs 0..2 see inputs 0 and 1
            "weight",
            lambda w: torch.cat([w[:2].transpose(0, 1).flatten(1), w[2:].transpose(0, 1).flatten(1)]),
        ),
    ],
    ids=lambda value: repr(value) if isinstance(value, nn.Module) else None,
)
def test_neurons_are_the_outputs_of_a_layer(layer, name, rows):
    weight, grad = layer.weight.detach(), torch.randn_like(layer.weight)
    stored = matrices(layer).neurons[name]
    [ours] = stored.rows(weight)
    assert torch.equal(ours, rows(weight))
    assert torch.equal(stored.restore([ours], weight), weight)
    layer.weight.grad = grad.clone()
    KO(torch.optim.SGD(layer.parameters()), matrices(layer), "soft", 0.1).collide()
    torch.testing.assert_close(rows(layer.weight.grad), soft_collision(rows(weight), rows(grad), 0.1))


def test_conv1d_of_transformers_stores_neurons_second_and_three_matrices_in_c_attn():
    model = GPT2LMHeadModel(GPT2Config(**GPT2))
    found = matrices(model)
    assert list(found) == [
        f"transformer.h.0.{name}.weight" for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    ]
    for parameter in found.values():
        parameter.grad = torch.randn_like(parameter)
    before = {name: parameter.grad.clone() for name, parameter in found.items()}
    KO(torch.optim.SGD(model.parameters()), found, "soft", 0.1).collide()
    for name, parameter in found.items():
        expected = collided_by_hand(parameter.detach().T, before[name].T, 3 if "c_attn" in name else 1).T
        torch.testing.assert_close(parameter.grad, expected)


def test_fused_queries_keys_and_values_are_three_matrices():
    attention = nn.MultiheadAttention(8, 2)
    assert matrices(attention).neurons == {"in_proj_weight": Neurons(parts=3), "out_proj.weight": Neurons()}
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1, num_classes=5)
    found = matrices(vit)
    assert found.neurons["blocks.0.attn.qkv.weight"].parts == 3
    assert "pos_embed" not in found
    assert "patch_embed.proj.weight" in found  # a convolution


def test_gates_of_a_recurrent_layer_do_not_collide_with_each_other():
    assert {name: stored.parts for name, stored in matrices(nn.LSTM(3, 5)).neurons.items()} == {
        "weight_ih_l0": 4,
        "weight_hh_l0": 4,
    }
    assert matrices(nn.LSTM(3, 5, proj_size=2)).neurons["weight_hr_l0"].parts == 1


def test_norms_embeddings_and_what_is_tied_to_them_are_left_out():
    model = nn.ModuleDict(
        {
            "table": nn.Embedding(9, 4),
            "norm": nn.LayerNorm((3, 4)),
            "first": nn.Linear(4, 6),
            "again": nn.Linear(4, 6),
            "head": nn.Linear(4, 9, bias=False),
            "single": nn.Linear(4, 1),
        }
    )
    model["head"].weight = model["table"].weight
    model["again"].weight = model["first"].weight
    assert list(matrices(model)) == ["first.weight"]


def test_patterns_choose_and_exclude():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    assert list(matrices(model, ["0.*", "2.*"])) == ["0.weight", "2.weight"]
    assert list(matrices(model, exclude="2.*")) == ["0.weight", "1.weight"]
    with pytest.raises(ValueError, match=r"pattern '2\.wieght' matches no parameter; closest names: 2\.weight"):
        matrices(model, "2.wieght")
    with pytest.raises(ValueError, match=r"pattern '3\.\*' matches no parameter"):
        matrices(model, exclude="3.*")
    with pytest.raises(ValueError, match="Embedding has no matrices of neurons"):
        matrices(nn.Embedding(3, 3))


def test_the_axis_of_parameters_passed_by_hand_is_named():
    layer = nn.Linear(3, 4)
    optimizer = torch.optim.SGD(layer.parameters())
    layer.weight.grad = torch.randn(4, 3)
    expected = soft_collision(layer.weight.detach().T, layer.weight.grad.T, 0.1).T
    KO(optimizer, {"w": layer.weight}, "soft", 0.1, neuron_dim={"w": 1}).collide()
    torch.testing.assert_close(layer.weight.grad, expected)
    with pytest.raises(ValueError, match="neuron_dim names 'v', which is not among params"):
        KO(optimizer, {"w": layer.weight}, "soft", 0.1, neuron_dim={"v": 1})
    with pytest.raises(ValueError, match="neuron_dim=2: parameter 'w' has shape"):
        KO(optimizer, {"w": layer.weight}, "soft", 0.1, neuron_dim=2)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (lambda m: m, r"params is a module: pass kiti\.matrices\(model\)"),
        (lambda m: m.parameters(), r"params has parameters without names: pass kiti\.matrices\(model\)"),
        (lambda m: [m.weight], r"params has parameters without names"),
        (lambda m: {"a": m.weight, "b": m.weight}, "params has one parameter under two names, 'a' and 'b'"),
    ],
)
def test_what_is_passed_by_hand_is_checked_in_one_line(params, message):
    """Not through KO, whose types the tests check first."""
    with pytest.raises(ValueError, match=message) as caught:
        named(params(nn.Linear(3, 4)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"a": nn.Parameter(torch.zeros(2, 2))}, "parameter 'a' is not among those of the SGD optimizer"),
        ({}, "params is empty"),
    ],
)
def test_unknown_parameters_are_named(params, message):
    with pytest.raises(ValueError, match=message):
        KO(torch.optim.SGD(nn.Linear(3, 4).parameters()), params, "soft", 0.1)


def test_complex_parameters_are_named_before_the_first_step():
    weight = nn.Parameter(torch.zeros(2, 2, dtype=torch.complex64))
    with pytest.raises(ValueError, match=r"parameter 'w' has dtype torch\.complex64: real numbers are needed"):
        KO(torch.optim.SGD([weight]), {"w": weight}, "soft", 0.1)


def test_matrices_are_a_mapping():
    assert isinstance(matrices(nn.Linear(2, 2)), Matrices)
    assert dict(matrices(nn.Linear(2, 2))).keys() == {"weight"}
