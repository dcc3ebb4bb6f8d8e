"""Where a parameter's neurons are: the layer that owns it decides."""

import re
import sys
from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.nn import Module, Parameter
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.parametrize import ParametrizationList

# Layers whose outputs are queries, keys and values, one after the other, if there are two or three for each input. The
# query_key_value of GPT-NeoX, BLOOM and Falcon is not among them: it has the three head by head.
_FUSED = ("c_attn", "qkv", "Wqkv", "qkv_proj", "in_proj")
_RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_KNOWN = (nn.Linear, nn.Bilinear, _ConvNd, nn.MultiheadAttention, *_RECURRENT)
_TABLES = re.compile(r"embed|position|token|table|^(wpe|wte|pos|rel_pos)")


@dataclass(frozen=True)
class Neurons:
    """How the neurons of a parameter are stored.

    Attributes:
        axis: that of the neurons; all other axes are one neuron's weights.
        parts: how many matrices are stacked along it, such as 3 for fused queries, keys and values. They do not collide
            with each other.
        groups: of a transposed convolution, whose weight is (in, out / groups, ...): neurons of each group.
    """

    axis: int = 0
    parts: int = 1
    groups: int = 1

    def rows(self, tensor: Shaped[Tensor, "..."]) -> list[Shaped[Tensor, "N D"]]:
        """One matrix for each part, neurons are rows."""
        if self.groups > 1:
            tensor = tensor.unflatten(0, (self.groups, -1)).movedim(2, 1).flatten(0, 1)
        else:
            tensor = tensor.movedim(self.axis, 0)
        return list(tensor.flatten(1).chunk(self.parts))

    def restore(self, rows: list[Shaped[Tensor, "N D"]], like: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """The inverse of `rows`, with the shape of `like`."""
        together = torch.cat(rows)
        if self.groups > 1:
            inputs, outputs, *kernel = like.shape
            split = together.view(self.groups, outputs, inputs // self.groups, *kernel)
            return split.movedim(1, 2).reshape(like.shape)
        moved = like.movedim(self.axis, 0).shape
        return together.view(moved).movedim(0, self.axis)


@dataclass(frozen=True)
class Owner:
    """The layer that owns a parameter, the layer's name in the model, and the parameter's name in the layer."""

    layer: Module
    path: str
    leaf: str

    @property
    def name(self) -> str:
        return f"{self.path}.{self.leaf}" if self.path else self.leaf

    @property
    def is_known(self) -> bool:
        """Whether all parameters of two and more dimensions have their neurons where `stored` says."""
        return isinstance(self.layer, _KNOWN) or self._is_conv1d

    @property
    def is_norm(self) -> bool:
        """Whether the layer is a norm, of torch or of a model's own, such as RMSNorm."""
        return not self.is_known and "norm" in type(self.layer).__name__.lower()

    @property
    def is_embedding(self) -> bool:
        """Whether the rows are tokens or positions instead of neurons."""
        if isinstance(self.layer, nn.Embedding | nn.EmbeddingBag):
            return True
        own_kind = "Embedding" in type(self.layer).__name__ or _TABLES.search(self.leaf)
        return bool(own_kind) and not self.is_known

    def stored(self, parameter: Tensor) -> Neurons:
        """How the layer stores the neurons of its parameter; along the first axis, if nothing else is known."""
        if parameter.dim() < 2:
            return Neurons()
        if isinstance(self.layer, _ConvTransposeNd):
            return Neurons(axis=1, groups=self.layer.groups)
        if isinstance(self.layer, _RECURRENT):
            return Neurons(parts=max(1, len(parameter) // self.layer.hidden_size))
        axis = 1 if self._is_conv1d else 0
        outputs, inputs = parameter.shape[axis], parameter.shape[1 - axis]
        fused = self.leaf == "in_proj_weight" or self.path.rpartition(".")[2] in _FUSED
        return Neurons(axis, parts=outputs // inputs if fused and outputs in (2 * inputs, 3 * inputs) else 1)

    @property
    def _is_conv1d(self) -> bool:
        """transformers' linear layer with weight (inputs, outputs), without importing transformers."""
        library = sys.modules.get("transformers.pytorch_utils")
        return library is not None and isinstance(self.layer, library.Conv1D)


def owners(model: Module) -> dict[int, Owner]:
    """By id of the parameter. An embedding comes before other owners; a parametrized weight is its layer's."""
    layers = dict(model.named_modules())
    found: dict[int, Owner] = {}
    for path, module in layers.items():
        layer, at = module, path
        if isinstance(module, ParametrizationList):  # at layer.parametrizations.weight
            at = path.rpartition("parametrizations.")[0].rstrip(".")
            layer = layers[at]
        for leaf, parameter in module.named_parameters(recurse=False):
            own = Owner(layer, at, leaf)
            if id(parameter) not in found or own.is_embedding:
                found[id(parameter)] = own
    return found


def why_not_neurons(owner: Owner, name: str, parameter: Parameter) -> str | None:
    """Why a parameter is no matrix of neurons, as the end of a sentence; None if it is one."""
    shape = tuple(parameter.shape)
    if owner.is_embedding:
        return "is an embedding" if owner.name == name else f"is tied to the embedding {owner.name!r}"
    if parameter.dim() < 2:
        return f"has shape {shape}"
    if owner.is_norm:
        return f"belongs to a {type(owner.layer).__name__}"
    if not parameter.requires_grad:
        return "does not require a gradient"
    if parameter.dim() > 2 and not owner.is_known:
        return (
            f"has shape {shape}, and {type(owner.layer).__name__} does not say which axis has neurons: name neuron_dim"
        )
    if owner.leaf != "weight" and not owner.is_known and parameter.numel() == len(parameter):
        return f"has shape {shape}: one number a neuron"
    if owner.leaf in ("original0", "weight_g"):
        return "has the lengths of weight_norm"
    if len(owner.stored(parameter).rows(parameter.detach())[0]) < 2:
        return f"has shape {shape}: one neuron"
    return None
