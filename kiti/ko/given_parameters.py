"""What `KO` is given: checks of the parameters, each with one line that says what would do."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import Module, Parameter
from torch.optim import Optimizer

from kiti.ko.neuron_axes import Neurons
from kiti.ko.selection import Matrices, near


def named(params: Any) -> dict[str, Parameter]:
    """{name: parameter} from what KO was given.

    Raises:
        ValueError: it is a module, or has no names, or has a name or a parameter twice; the message says what would do.
    """
    if isinstance(params, Module):
        raise ValueError("params is a module: pass kiti.matrices(model), or kiti.matrices(model, patterns)")
    if isinstance(params, Tensor):
        raise ValueError("params is a parameter without a name: pass {name: parameter}")
    found: dict[str, Parameter] = {}
    names: dict[int, str] = {}
    for pair in [params] if isinstance(params, str) else params.items() if isinstance(params, Mapping) else params:
        if isinstance(pair, Tensor):
            raise ValueError("params has parameters without names: pass kiti.matrices(model), or {name: parameter}")
        if isinstance(pair, str):
            raise ValueError(f"params has names without parameters: pass kiti.matrices(model, [{pair!r}])")
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[1], Tensor):
            raise ValueError(f"params has a {type(pair).__name__}: pass kiti.matrices(model), or {{name: parameter}}")
        name, parameter = pair
        if id(parameter) in names:
            raise ValueError(f"params has one parameter under two names, {names[id(parameter)]!r} and {name!r}")
        if name in found:
            raise ValueError(f"params has two parameters with the name {name!r}")
        found[name], names[id(parameter)] = parameter, name
    return found


def neurons_of(
    params: Any, parameters: Mapping[str, Parameter], neuron_dim: int | Mapping[str, int] | None
) -> dict[str, Neurons]:
    """By name, how each parameter stores its neurons: as `neuron_dim` says, or its layer, or along the first axis.

    Raises:
        ValueError: a parameter is an embedding, or `neuron_dim` names an unknown parameter or no axis of it.
    """
    known = params.neurons if isinstance(params, Matrices) else {}
    tables = params.embeddings if isinstance(params, Matrices) else ()
    given = neuron_dim if isinstance(neuron_dim, Mapping) else dict.fromkeys(parameters, neuron_dim)
    if unknown := given.keys() - parameters.keys():
        close = near(min(unknown), parameters)
        raise ValueError(f"neuron_dim names {min(unknown)!r}, which is not among params; closest names: {close}")
    found = {}
    for name, parameter in parameters.items():
        axis = given.get(name)
        if axis is None and name in tables:
            raise ValueError(f"parameter {name!r} is an embedding, whose rows are not neurons: leave it out")
        if axis is not None and not -parameter.dim() <= axis < parameter.dim():
            raise ValueError(f"neuron_dim={axis}: parameter {name!r} has shape {tuple(parameter.shape)}")
        found[name] = known.get(name, Neurons()) if axis is None else Neurons(axis)
    return found


def check_owned(parameters: Mapping[str, Parameter], optimizer: Optimizer, why: str = "") -> None:
    """Raise ValueError, which ends with `why`, unless the optimizer has all these parameters."""
    owned = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in parameters.items():
        if id(parameter) not in owned:
            kind = type(optimizer).__name__
            raise ValueError(f"parameter {name!r} is not among those of the {kind} optimizer{why}")


def check_matrices(parameters: Mapping[str, Parameter], replicas: int | None) -> None:
    """Raise ValueError unless these are real matrices, or `replicas` of each."""
    if not parameters:
        raise ValueError("params is empty: at least one (name, parameter) pair is needed")
    for name, parameter in parameters.items():
        shape = tuple(parameter.shape)
        if not parameter.is_floating_point():
            raise ValueError(f"parameter {name!r} has dtype {parameter.dtype}: real numbers are needed")
        if replicas is not None and (parameter.dim() < 3 or len(parameter) != replicas):
            raise ValueError(
                f"parameter {name!r} has shape {shape}: with replicas={replicas} the axes must be replicas, neurons "
                "and then weights"
            )
        if parameter.dim() < 2:
            raise ValueError(f"parameter {name!r} has shape {shape}: at least two dimensions are needed, neurons first")
