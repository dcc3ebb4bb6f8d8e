"""The keys of `data=burgers_mat`."""

from typing import Annotated

from pydantic import Field, FilePath

from kiti.data.operator_pairs_keys import OperatorPairsKeys
from kiti.units.keys import Place


class BurgersMatKeys(OperatorPairsKeys):
    builds = "kiti.data.burgers_mat.BurgersMat"
    name = "burgers_mat"
    path: Place[Annotated[FilePath, Field(strict=False)]]
