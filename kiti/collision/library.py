"""kiti's torch operators, kiti::<name>, are registered here by hand.

torch.library.custom_op with its register_autograd would do the same, but takes twice as long per call, which matters
for steps made of small calls.
"""

from collections.abc import Callable
from typing import Any

import torch

library = torch.library.Library("kiti", "FRAGMENT")


def operator(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make `function` the operator kiti::<its name without the underscore>, which returns only new tensors."""
    name = function.__name__.removeprefix("_")
    schema = torch.library.infer_schema(function, mutates_args=())
    library.define(name + schema, tags=torch.Tag.pt2_compliant_tag)
    library.impl(name, function, "CompositeExplicitAutograd")
    return function
