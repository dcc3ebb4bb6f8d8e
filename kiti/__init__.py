"""KITINet and KO, two papers that replace an addition by a collision, for any PyTorch model and optimizer.

    model = timm.create_model("vit_tiny_patch16_224")
    kiti.open_seam(model, branch="blocks.*.attn", shortcut="blocks.*.norm1", residual=kiti.KITIResidual)
    kiti.calibrate(model, batch, pairs=1)
    ko = kiti.KO(optimizer, kiti.matrices(model), mode="soft", coll_coef=0.0005)
    print(kiti.statistics(model), ko)

open_seam, close_seam     residual(x, v) in place of a model's additions x + v, in training
KITIResidual, collide     Algorithm 1 of KITINet, as a module and as a function
calibrate, statistics     collision_heads and coll_coef from a model's own features; what has collided
keep_statistics           switches the statistics off and on
Directions                the state of the random directions, to be seeded, saved and restored
KO, matrices              collides gradients before an optimizer's step; which parameters are matrices of neurons
soft_collision, hard_collision     what KO does to one matrix
LightningCallback         KO, and saved directions, in a LightningModule
weight_correlation        how alike the neurons of a layer are (rho)

Commands: kiti-train, kiti-eval, kiti-table, kiti-calibrate. The names above are imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kiti.calibration.any_model import calibrate
    from kiti.collision.dispatch import collide
    from kiti.ko import KO, hard_collision, matrices, soft_collision
    from kiti.neurons.condensation import weight_correlation
    from kiti.residual import KITIResidual
    from kiti.seams.lightning_callback import LightningCallback
    from kiti.seams.opening import close_seam, open_seam
    from kiti.seams.watching import Directions, keep_statistics, statistics

__version__ = "0.1.0"

_HOME = {
    "open_seam": "kiti.seams.opening",
    "close_seam": "kiti.seams.opening",
    "KITIResidual": "kiti.residual",
    "collide": "kiti.collision.dispatch",
    "calibrate": "kiti.calibration.any_model",
    "statistics": "kiti.seams.watching",
    "keep_statistics": "kiti.seams.watching",
    "Directions": "kiti.seams.watching",
    "LightningCallback": "kiti.seams.lightning_callback",
    "KO": "kiti.ko",
    "soft_collision": "kiti.ko",
    "hard_collision": "kiti.ko",
    "matrices": "kiti.ko",
    "weight_correlation": "kiti.neurons.condensation",
}
__all__ = [
    "KO",
    "Directions",
    "KITIResidual",
    "LightningCallback",
    "calibrate",
    "close_seam",
    "collide",
    "hard_collision",
    "keep_statistics",
    "matrices",
    "open_seam",
    "soft_collision",
    "statistics",
    "weight_correlation",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'kiti' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
