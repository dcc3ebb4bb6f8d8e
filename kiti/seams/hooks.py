"""`Seam`: the hooks that put a residual in place of an addition inside somebody else's module.

The block still adds. In training one of the two summands is changed, so that the sum is residual(x, v), one rounding
away:

    x first:  the branch returns residual(x, v) - x
    v first:  the shortcut returns residual(x, v) - v

Where the residual is the addition anyway, as in eval mode, the hooks return at once and nothing is touched.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from kiti.residual import Residual


class Seam:
    """The hooks of one addition x + v; created by `open_seam`.

    Args:
        residual: joins x and v.
        branch: name of the module that returns v, alone or first in a tuple.
        shortcut: name of the module that gets x as its first tensor, or returns it if `of_output`.
    """

    def __init__(self, residual: Residual, branch: str, shortcut: str, of_output: bool) -> None:
        self.residual = residual
        self.branch = branch
        self.shortcut = shortcut
        self.of_output = of_output
        self.summands: tuple[Tensor, Tensor] | None = None
        """What the block adds next, while `watched`."""
        self.watched = False
        self._x: Tensor | None = None
        self._v: tuple[Tensor, Tensor] | None = None  # v, and the copy that the block adds
        self._handles: list[RemovableHandle] = []
        self._block: nn.Module
        self._branch: nn.Module

    def open(self, model: nn.Module, owner: str) -> None:
        """Register the hooks; `owner` is the name of the module around both ends, whose mode they follow."""
        shortcut, branch = model.get_submodule(self.shortcut), model.get_submodule(self.branch)
        self._block, self._branch = model.get_submodule(owner), branch
        if self.of_output:
            self._handles.append(shortcut.register_forward_hook(self._shortcut_returns))
        else:
            self._handles.append(shortcut.register_forward_pre_hook(self._shortcut_gets, with_kwargs=True))
        self._handles.append(branch.register_forward_hook(self._branch_returns))

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _idle(self) -> bool:
        return self.residual.is_addition or (self.residual.dt == 1 and self._only_residual_trains())

    def _only_residual_trains(self) -> bool:
        """Whether the block is in eval mode but its residual is not.

        So it is in a graph of torch.fx, which has modes of its own and no residual. A block with frozen norms has other
        layers in training mode.
        """
        if self._branch.training or not self.residual.training:
            return False
        leaves = (m for m in self._block.modules() if m is not self.residual and not any(m.children()))
        return not any(leaf.training for leaf in leaves)

    def _joined(self, x: Tensor, v: Tensor) -> Tensor:
        if not self._only_residual_trains():
            return self.residual(x, v)  # type: ignore[no-any-return]
        self.residual.training = False
        try:
            return self.residual(x, v)  # type: ignore[no-any-return]
        finally:
            self.residual.training = True

    def _shortcut_gets(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._idle():
            return
        x = args[0] if args else next(iter(kwargs.values()), None)
        if not isinstance(x, Tensor | torch.fx.Proxy):
            raise TypeError(f"{self.shortcut}: its first argument is a {type(x).__name__}; x must be a tensor")
        self._x = x  # type: ignore[assignment]

    def _shortcut_returns(self, module: nn.Module, args: Any, output: Tensor) -> Tensor | None:
        if self._idle():
            return None
        if self._v is None:
            self._x = output
            return None
        (v, added), self._v = self._v, None
        joined = self._joined(output, v) - v
        if self.watched:
            self.summands = joined, added
        return joined

    def _branch_returns(self, module: nn.Module, args: Any, output: Any) -> Any:
        if self._idle():
            return None
        several = isinstance(output, tuple)
        v = output[0] if several else output
        x, self._x = self._x, None
        if x is not None and isinstance(x, torch.fx.Proxy) != isinstance(v, torch.fx.Proxy):
            raise RuntimeError(
                f"torch.fx traced into only one of {self.branch} and {self.shortcut}: make both leaf modules, or none"
            )
        if x is not None:
            joined = self._joined(x, v) - x
            if self.watched:
                self.summands = joined, x
        elif self.of_output:
            joined = v.clone()  # the block may add in place
            self._v = v, joined
        else:
            raise RuntimeError(
                f"{self.branch} ran before {self.shortcut} got its input: name as shortcut a module that gets x "
                f"before, or one that returns x, as '{self.shortcut}:output'"
            )
        return (joined, *output[1:]) if several else joined
