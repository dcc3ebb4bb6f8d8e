"""`Rules`: every setting of a collision, with its choices, default and range.

Does not import torch, so that YAML can be checked quickly. `kiti.collide` documents what each setting means.
"""

import ast
import inspect
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, ClassVar, Literal, TypeVar, get_args

Layout = Literal["contiguous", "strided"]
Reduction = Literal["sum", "mean", "max_one"]
MaxOver = Literal["system", "batch"]
Pairing = Literal["accepted", "random"]
Terms = Literal["both", "means", "kicks"]
Implementation = Literal["auto", "literal", "numba", "triton"]
CHOICES: dict[str, tuple[str, ...]] = {
    "layout": get_args(Layout),
    "reduction": get_args(Reduction),
    "max_over": get_args(MaxOver),
    "implementation": get_args(Implementation),
    "pairing": get_args(Pairing),
    "terms": get_args(Terms),
}
Function = TypeVar("Function", bound=Callable)


@dataclass(frozen=True)
class Rules:
    """How features become particles and which of them collide; see `kiti.collide` for every field.

    `encoded` is all of it as one string, which a torch operator can take; `Rules.decode` reads it back.

    Raises:
        ValueError: a setting has the wrong type or is out of range; the message gives its value and what is allowed.
    """

    collision_heads: int
    coll_coef: float
    dt: float = 1.0
    layout: str = "contiguous"
    position_update: bool = True
    reduction: str = "sum"
    max_over: str = "system"
    implementation: str = "auto"
    pairing: str = "accepted"
    terms: str = "both"
    revision: ClassVar[int] = 1  # counts the changes of `collide` that changed results; part of a run's identity
    encoded: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_coll_coef(self.coll_coef)
        heads = self.collision_heads
        if not isinstance(heads, int) or isinstance(heads, bool) or heads < 1:
            raise ValueError(f"collision_heads={heads!r}: a positive int is needed, the dimension of a particle")
        if not isinstance(self.dt, int | float) or isinstance(self.dt, bool) or not -math.inf < self.dt < math.inf:
            raise ValueError(f"dt={self.dt!r}: a finite number is needed; the paper uses 1.0")
        if not isinstance(self.position_update, bool):
            raise ValueError(f"position_update={self.position_update!r}: True or False is needed")
        for name, choices in CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        # Plain numbers, since NumPy's repr is not a literal; by calls that make a constant of a traced number.
        object.__setattr__(self, "collision_heads", operator.index(heads))
        object.__setattr__(self, "coll_coef", float(self.coll_coef).__float__())
        object.__setattr__(self, "dt", float(self.dt).__float__())
        how = (self.layout, self.position_update, self.reduction, self.max_over, self.implementation)
        placebo = (self.pairing, self.terms)
        object.__setattr__(self, "encoded", repr((self.collision_heads, self.coll_coef, self.dt, *how, *placebo)))

    @property
    def settings(self) -> dict[str, Any]:
        """The fields by name, as `kiti.collide` takes them."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.init}

    @staticmethod
    @lru_cache
    def decode(encoded: str) -> "Rules":
        """The rules that have this `encoded`."""
        return Rules(*ast.literal_eval(encoded))

    @property
    def threshold(self) -> float:
        """A pair is accepted where V_r U_r / max(V_r) exceeds this, 1 - coll_coef."""
        return 1.0 - self.coll_coef


def names_settings(function: Function) -> Function:
    """Add the fields of `Rules`, with defaults, to the signature of a function that passes **settings to it."""
    own = inspect.signature(function)
    given = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
    settings = [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=getattr(Rules, each.name, inspect.Parameter.empty),
            annotation=each.type,
        )
        for each in fields(Rules)
        if each.init and each.name not in own.parameters
    ]
    function.__signature__ = own.replace(parameters=[*given, *settings])  # type: ignore[attr-defined]
    return function


def check_coll_coef(coll_coef: int | float) -> None:
    """Raise ValueError unless `coll_coef` is a number in [0, 1], and not NaN."""
    if not isinstance(coll_coef, int | float) or isinstance(coll_coef, bool) or not 0.0 <= coll_coef <= 1.0:
        raise ValueError(
            f"coll_coef={coll_coef!r}: a number in [0, 1] is needed; 0 accepts no pair, "
            "1 accepts every pair in relative motion"
        )


def check_choice(argument: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ValueError naming the choices unless `value` is one of them."""
    if value not in choices:
        raise ValueError(f"{argument}={value!r}: one of {', '.join(map(repr, choices))} is needed")
