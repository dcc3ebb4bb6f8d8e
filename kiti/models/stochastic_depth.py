"""Stochastic depth for torchvision's ResNet: a sample skips a block's branch with a probability that grows with depth.

    branch i of n:  v <- v / (1 - p_i) with probability 1 - p_i, else 0;   p_i = rate i / (n - 1), i = 0 … n - 1

This is timm's rule, applied where timm applies it: to the output of the branch's last batch norm, before the addition
or `kiti.residual`. It is a forward hook of that batch norm and does not appear in `state_dict`.
"""

from functools import partial

from torch import Tensor, nn
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.ops import stochastic_depth


def drop_branches(model: ResNet, rate: float) -> ResNet:
    """Let samples skip branches in training, the last block's with probability `rate`; modifies the model in place.

    Raises:
        ValueError: `rate` is outside [0, 1).
    """
    if not 0 <= rate < 1:
        raise ValueError(f"drop_path={rate}: a probability below 1 is needed")
    blocks = [block for block in model.modules() if isinstance(block, BasicBlock | Bottleneck)]
    for i, block in enumerate(blocks):
        if probability := rate * i / (len(blocks) - 1):
            last = block.bn3 if isinstance(block, Bottleneck) else block.bn2
            last.register_forward_hook(partial(_drop, probability))
    return model


def _drop(probability: float, last: nn.Module, inputs: tuple[Tensor, ...], branch: Tensor) -> Tensor:
    return stochastic_depth(branch, probability, "row", last.training)
