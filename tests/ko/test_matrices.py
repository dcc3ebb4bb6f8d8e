"""Which matrices collide and along which axis: the layer decides."""

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn.utils import parametrizations
from transformers import GPT2Config, GPT2LMHeadModel

from kiti.ko import KO, Matrices, matrices, select, soft_collision
from kiti.ko.given_parameters import named
from kiti.ko.neuron_axes import Neurons

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
    with pytest.raises(ValueError, match=r"pattern '0\.bias' matches no matrix of neurons: 0\.bias has shape \(3,\)"):
        matrices(model, "0.bias")
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
    with pytest.raises(ValueError, match="neuron_dim=1: with replicas=2 neurons are on the second axis"):
        KO(optimizer, {"w": layer.weight}, "soft", 0.1, neuron_dim=1, replicas=2)


def test_neuron_dim_comes_before_the_layer():
    model = GPT2LMHeadModel(GPT2Config(**GPT2))
    found = matrices(model)
    c_fc, c_attn = ("transformer.h.0.mlp.c_fc.weight", "transformer.h.0.attn.c_attn.weight")
    ko = KO(torch.optim.SGD(model.parameters()), found, "soft", 0.1, neuron_dim={c_attn: 0})
    assert (ko.neurons[c_attn], ko.neurons[c_fc]) == (Neurons(0), Neurons(1))
    assert (found.axes[c_attn], found.parts[c_attn]) == (1, 3)


def test_select_knows_the_axes_too_and_ko_refuses_embeddings():
    model = GPT2LMHeadModel(GPT2Config(**GPT2))
    assert select(model, "*.c_fc.*").neurons["transformer.h.0.mlp.c_fc.weight"] == Neurons(1)
    optimizer = torch.optim.SGD(model.parameters())
    with pytest.raises(ValueError, match=r"'transformer\.wte\.weight' is an embedding, whose rows are not neurons"):
        KO(optimizer, select(model, "*.wte.*"), "soft", 0.1)
    with pytest.raises(ValueError, match=r"lm_head\.weight is tied to the embedding 'transformer\.wte\.weight'"):
        matrices(model, "lm_head.*")


def test_parametrized_weights_are_those_of_their_layer():
    convolution = parametrizations.spectral_norm(nn.ConvTranspose1d(3, 4, 2))
    assert matrices(convolution).axes == {"parametrizations.weight.original": 1}
    within = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 4)))
    assert list(matrices(within)) == ["0.parametrizations.weight.original1"]  # the other has the rows' lengths


class Odd(nn.Module):
    """Parameters of which nothing says where the neurons are."""

    def __init__(self):
        super().__init__()
        self.experts = nn.Parameter(torch.zeros(3, 8, 4))
        self.layer_scale = nn.Parameter(torch.ones(4, 1))
        self.rel_pos_h = nn.Parameter(torch.zeros(5, 4))
        self.projection = nn.Parameter(torch.zeros(6, 4))
        self.frozen = nn.Parameter(torch.zeros(6, 4), requires_grad=False)


def test_what_only_resembles_a_matrix_of_neurons_is_left_out():
    assert matrices(Odd()).axes == {"projection": 0}
    for name, why in {
        "experts": r"has shape \(3, 8, 4\), and Odd does not say which axis has neurons: name neuron_dim",
        "layer_scale": r"has shape \(4, 1\): one number a neuron",
        "rel_pos_h": "is an embedding",
        "frozen": "does not require a gradient",
    }.items():
        with pytest.raises(ValueError, match=f"pattern '{name}' matches no matrix of neurons: {name} {why}"):
            matrices(Odd(), name)


@pytest.mark.parametrize("name", ["convnext_tiny", "swin_v2_t", "vit_b_16", "resnet18"])
def test_all_matrices_of_torchvision_belong_to_linear_layers_convolutions_and_attention(name):
    with torch.device("meta"):
        model = torchvision.models.get_model(name)
    owner = {id(p): layer for layer in model.modules() for p in layer.parameters(recurse=False)}
    found = matrices(model)
    assert all(isinstance(owner[id(p)], nn.Linear | nn.Conv2d | nn.MultiheadAttention) for p in found.values())
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    assert sum(isinstance(owner[id(p)], nn.Linear | nn.Conv2d) for p in found.values()) == len(layers)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (lambda m: m, r"params is a module: pass kiti\.matrices\(model\)"),
        (lambda m: m.parameters(), r"params has parameters without names: pass kiti\.matrices\(model\)"),
        (lambda m: [m.weight], r"params has parameters without names"),
        (lambda m: m.weight, r"params is a parameter without a name: pass \{name: parameter\}"),
        (lambda m: ["weight"], r"params has names without parameters: pass kiti\.matrices\(model, \['weight'\]\)"),
        (lambda m: "weight", r"params has names without parameters: pass kiti\.matrices\(model, \['weight'\]\)"),
        (lambda m: [{"params": [m.weight]}], r"params has a dict: pass kiti\.matrices\(model\)"),
        (lambda m: {"a": None}, r"params has a tuple: pass kiti\.matrices\(model\)"),
        (lambda m: [("a", m.weight), ("a", m.bias)], "params has two parameters with the name 'a'"),
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
