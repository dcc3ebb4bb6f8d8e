"""Which parameters of a model are matrices of neurons, and along which axis."""

import difflib
import fnmatch
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.nn import Module, Parameter

NamedParameters = Mapping[str, Parameter] | Iterable[tuple[str, Parameter]]

_NORMS = (
    nn.LayerNorm,
    nn.RMSNorm,
    nn.GroupNorm,
    nn.modules.batchnorm._NormBase,
    nn.LocalResponseNorm,
)
_TABLES = re.compile(r"embed|position|token|^wpe|^wte")


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


class Matrices(dict[str, Parameter]):
    """Parameters by name, as `matrices` returns them; `neurons` says how each stores its neurons."""

    def __init__(self, parameters: Mapping[str, Parameter], neurons: Mapping[str, Neurons]) -> None:
        super().__init__(parameters)
        self.neurons = dict(neurons)


def matrices(model: Module, patterns: str | Iterable[str] = "*", exclude: str | Iterable[str] = ()) -> Matrices:
    """The parameters of a model whose rows are neurons, each once: those with two dimensions or more.

    Norms, embeddings and what is tied to one, such as GPT-2's head, are left out, and so are parameters with fewer than
    two neurons. The axis of the neurons follows the layer: the outputs of linear layers and convolutions, also where
    they are stored second, as in transposed convolutions and transformers' `Conv1D`. Fused queries, keys and values
    (`c_attn`, `qkv`, `in_proj_weight`) are as many matrices, the gates of a recurrent layer as many as it has.

    Args:
        model: any module.
        patterns: names to choose from, as in a shell: *, ?, [seq].
        exclude: names to leave out of these.

    Raises:
        ValueError: a pattern matches none of them; the message lists the closest names. Or nothing is left.

    Example:
        >>> import torch, kiti
        >>> model = torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Linear(4, 8), torch.nn.LayerNorm(8))
        >>> list(kiti.matrices(model))
        ['1.weight']
    """
    found: dict[str, Parameter] = {}
    neurons: dict[str, Neurons] = {}
    tables = {id(p) for layer in model.modules() if _is_table(layer) for p in layer.parameters(recurse=False)}
    seen: set[int] = set()
    for prefix, layer in model.named_modules():
        for leaf, parameter in layer.named_parameters(recurse=False):
            if id(parameter) in tables | seen or isinstance(layer, _NORMS) or parameter.dim() < 2:
                continue
            seen.add(id(parameter))
            stored = _stored(layer, leaf, prefix, parameter)
            if _TABLES.search(leaf) or len(stored.rows(parameter.detach())[0]) < 2:
                continue
            name = f"{prefix}.{leaf}" if prefix else leaf
            found[name], neurons[name] = parameter, stored
    chosen = select(found, patterns) if found else {}
    left_out = select(chosen, exclude) if chosen and exclude else {}
    chosen = {name: p for name, p in chosen.items() if name not in left_out}
    if not chosen:
        raise ValueError(f"{type(model).__name__} has no matrices of neurons with these names")
    return Matrices(chosen, {name: neurons[name] for name in chosen})


def select(model: Module | NamedParameters, patterns: str | Iterable[str]) -> dict[str, Parameter]:
    """The parameters whose names match one of the patterns (as in a shell: *, ?, [seq]), in the model's order.

    Raises:
        ValueError: a pattern matches nothing; the message lists the closest names.
    """
    named = model.named_parameters() if isinstance(model, Module) else model
    parameters = dict(named.items() if isinstance(named, Mapping) else named)
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in parameters):
            near = difflib.get_close_matches(pattern, parameters, cutoff=0.3) or list(parameters)[:3]
            raise ValueError(f"pattern {pattern!r} matches no parameter; closest names: {', '.join(near)}")
    return {name: p for name, p in parameters.items() if any(fnmatch.fnmatchcase(name, q) for q in patterns)}


def named(params: object) -> Iterator[tuple[str, Parameter]]:
    """(name, parameter) pairs of what KO was given.

    Raises:
        ValueError: it is a module, or has no names, or the same parameter twice; the message says what would do.
    """
    if isinstance(params, Module):
        raise ValueError("params is a module: pass kiti.matrices(model), or kiti.matrices(model, patterns)")
    pairs = list(params.items() if isinstance(params, Mapping) else params)  # type: ignore[call-overload]
    if any(isinstance(pair, Tensor) for pair in pairs):
        raise ValueError("params has parameters without names: pass kiti.matrices(model), or {name: parameter}")
    names: dict[int, str] = {}
    for name, parameter in pairs:
        if id(parameter) in names:
            raise ValueError(f"params has one parameter under two names, {names[id(parameter)]!r} and {name!r}")
        names[id(parameter)] = name
    return iter(pairs)


def _is_table(layer: Module) -> bool:
    return isinstance(layer, nn.Embedding | nn.EmbeddingBag)


def _stored(layer: Module, leaf: str, prefix: str, parameter: Parameter) -> Neurons:
    """How `layer` stores the neurons of its parameter."""
    if isinstance(layer, nn.modules.conv._ConvTransposeNd):
        return Neurons(axis=1, groups=layer.groups)
    if isinstance(layer, nn.RNNBase):
        return Neurons(parts=max(1, len(parameter) // layer.hidden_size))
    axis = 1 if _is_conv1d(layer) else 0
    outputs, inputs = parameter.shape[axis], parameter.shape[1 - axis]
    fused = leaf == "in_proj_weight" or prefix.rpartition(".")[2] in ("c_attn", "qkv")
    return Neurons(axis, parts=outputs // inputs if fused and outputs in (2 * inputs, 3 * inputs) else 1)


def _is_conv1d(layer: Module) -> bool:
    """transformers' linear layer with weight (inputs, outputs), without importing transformers."""
    library = sys.modules.get("transformers.pytorch_utils")
    return library is not None and isinstance(layer, library.Conv1D)
