"""Parameters that a model has under several names, such as GPT-2's embedding, which is its head's matrix too."""

from torch import Tensor, nn


def tied_names(model: nn.Module) -> dict[str, str]:
    """By each further name of a parameter: its first one, in the model's order."""
    first: dict[int, str] = {}
    tied = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        known = first.setdefault(id(parameter), name)
        if known != name:
            tied[name] = known
    return tied


def stored_once(model: nn.Module) -> dict[str, Tensor]:
    """The model's state, each tied parameter under its first name alone."""
    tied = tied_names(model)
    return {name: tensor for name, tensor in model.state_dict().items() if name not in tied}


def with_tied_names(model: nn.Module, stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """`stored`, with tied parameters under each name, as `load_state_dict` wants them."""
    return stored | {
        name: stored[first] for name, first in tied_names(model).items() if first in stored and name not in stored
    }
