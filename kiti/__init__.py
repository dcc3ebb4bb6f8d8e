"""kiti: KITINet and KO, made checkable.

The public names are imported on first use, so that `import kiti` and the command lines stay instant.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kiti.collision.dispatch import collide
    from kiti.ko import KO, hard_collision, matrices, soft_collision
    from kiti.neurons.condensation import weight_correlation
    from kiti.residual import KITIResidual

__version__ = "0.1.0"

_HOME = {
    "collide": "kiti.collision.dispatch",
    "KITIResidual": "kiti.residual",
    "soft_collision": "kiti.ko",
    "hard_collision": "kiti.ko",
    "KO": "kiti.ko",
    "matrices": "kiti.ko",
    "weight_correlation": "kiti.neurons.condensation",
}
__all__ = ["KO", "KITIResidual", "collide", "hard_collision", "matrices", "soft_collision", "weight_correlation"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'kiti' has no attribute '{name}'")
