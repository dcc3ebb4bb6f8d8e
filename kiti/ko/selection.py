"""Which parameters of a model are matrices of neurons."""

import difflib
import fnmatch
from collections.abc import Iterable, Mapping

from torch.nn import Module, Parameter

from kiti.ko.neuron_axes import Neurons, owners, why_not_neurons

NamedParameters = Mapping[str, Parameter] | Iterable[tuple[str, Parameter]]


class Matrices(dict[str, Parameter]):
    """Parameters by name, as `matrices` returns them.

    A plain dict made from it has lost the axes: leave parameters out with the patterns of `matrices`.

    Attributes:
        neurons: by name, how each stores its neurons.
        embeddings: the names of those whose rows are tokens or positions, which `KO` refuses.
    """

    def __init__(
        self, parameters: Mapping[str, Parameter], neurons: Mapping[str, Neurons], embeddings: Iterable[str] = ()
    ) -> None:
        super().__init__(parameters)
        self.neurons = {name: neurons[name] for name in parameters}
        self.embeddings = frozenset(embeddings)

    @property
    def axes(self) -> dict[str, int]:
        """By name, which axis has the neurons."""
        return {name: stored.axis for name, stored in self.neurons.items()}

    @property
    def parts(self) -> dict[str, int]:
        """By name, how many matrices are stacked along that axis, which do not collide with each other."""
        return {name: stored.parts for name, stored in self.neurons.items()}


def matrices(model: Module, patterns: str | Iterable[str] = "*", exclude: str | Iterable[str] = ()) -> Matrices:
    """The trained parameters of a model whose rows are neurons, each once: those with two dimensions or more.

    Norms, embeddings and what is tied to one, such as GPT-2's head, are left out, and so are parameters with fewer than
    two neurons, or of three and more dimensions in a layer of unknown kind, such as stacked experts. The axis of the
    neurons follows the layer: the outputs of linear layers and convolutions, also where they are stored second, as in
    transposed convolutions and transformers' `Conv1D`. Fused queries, keys and values (`in_proj_weight`; layers named
    `c_attn`, `qkv`, `Wqkv`, `qkv_proj`, `in_proj` with three outputs for each input) are as many matrices, the gates of
    a recurrent layer as many as it has. `query_key_value` is one: its heads are interleaved.

    Args:
        model: any module.
        patterns: names to choose from, as in a shell: *, ?, [seq].
        exclude: names to leave out of these.

    Returns:
        {name: parameter} in the model's order, with its `axes` and `parts`.

    Raises:
        ValueError: a pattern matches no parameter, and the message lists the closest names; or it matches no matrix of
            neurons, and the message says what it matches; or nothing is left.
        TypeError: `model` is not a module.

    Example:
        >>> import torch, kiti
        >>> model = torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Linear(4, 8), torch.nn.LayerNorm(8))
        >>> kiti.matrices(model).axes
        {'1.weight': 0}
    """
    if not isinstance(model, Module):
        raise TypeError(f"model is a {type(model).__name__}: a torch.nn.Module is needed")
    parameters = dict(model.named_parameters(remove_duplicate=False))
    owner = owners(model)
    unfit = {name: why_not_neurons(owner[id(p)], name, p) for name, p in parameters.items()}
    left_out = set(_matching(parameters, exclude))
    chosen: dict[int, str] = {}
    for pattern in _several(patterns):
        matched = _matching(parameters, pattern)
        if matched and all(unfit[name] for name in matched) and pattern != "*":
            raise ValueError(f"pattern {pattern!r} matches no matrix of neurons: {matched[0]} {unfit[matched[0]]}")
        for name in matched:
            if not unfit[name] and name not in left_out:
                chosen.setdefault(id(parameters[name]), name)
    if not chosen:
        raise ValueError(f"{type(model).__name__} has no matrices of neurons with these names")
    names = [name for name in parameters if name in chosen.values()]
    return Matrices(
        {name: parameters[name] for name in names},
        {name: owner[id(parameters[name])].stored(parameters[name]) for name in names},
    )


def select(model: Module | NamedParameters, patterns: str | Iterable[str]) -> dict[str, Parameter]:
    """The parameters whose names match one of the patterns (as in a shell: *, ?, [seq]), in the model's order.

    Unlike `matrices` it chooses among all parameters, biases too. Those of a model come as `Matrices`, with the axes of
    their neurons.

    Raises:
        ValueError: a pattern matches nothing; the message lists the closest names.
    """
    named = model.named_parameters() if isinstance(model, Module) else model
    parameters = dict(named.items() if isinstance(named, Mapping) else named)
    chosen = {name: parameters[name] for name in _matching(parameters, patterns)}
    if not isinstance(model, Module):
        return chosen
    owner = owners(model)
    stored = {name: owner[id(p)].stored(p) for name, p in chosen.items()}
    return Matrices(chosen, stored, [name for name, p in chosen.items() if owner[id(p)].is_embedding])


def near(name: str, names: Iterable[str]) -> str:
    """The names that resemble this one, for a message."""
    names = list(names)
    return ", ".join(difflib.get_close_matches(name, names, cutoff=0.3) or names[:3])


def _several(patterns: str | Iterable[str]) -> list[str]:
    return [patterns] if isinstance(patterns, str) else list(patterns)


def _matching(parameters: Mapping[str, Parameter], patterns: str | Iterable[str]) -> list[str]:
    patterns = _several(patterns)
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in parameters):
            raise ValueError(f"pattern {pattern!r} matches no parameter; closest names: {near(pattern, parameters)}")
    return [name for name in parameters if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
