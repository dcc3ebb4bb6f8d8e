"""Operations on the meta device, each worked out and counted once: what repeats costs nothing."""

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from kiti.training.counting import counter


class MetaOperations(TorchDispatchMode):
    """Within this mode, `flops` counts operations on meta tensors, and `peak` is the most bytes alive at once.

    torch works out the result of an operation on meta tensors in Python, which takes longer than many real operations,
    and its counter takes as long again. A deep network repeats the same few, so both are done once for each operation
    and shapes, and kept for all later instances of this class.

    A mask on the meta device has no values: all its entries count as true.
    """

    _known: ClassVar[dict[Any, tuple[int, "_Repeats"]]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0
        self.alive = 0
        self.peak = 0
        self._storages: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten.nonzero.default and args[0].is_meta:
            return self._born(args[0].new_empty(args[0].numel(), args[0].dim(), dtype=torch.int64))
        key = _key((func, *args, *kwargs.items()))
        if key is None:
            return func(*args, **kwargs)
        if key not in self._known:
            with counter() as counted:
                result = func(*args, **kwargs)
            self._known[key] = counted.get_total_flops(), _repeated(func, result, args)
        else:
            repeated = self._known[key][1]
            result = func(*args, **kwargs) if repeated is None else repeated(args)
        self.flops += self._known[key][0]
        return result if _is_old(func) else self._born(result)

    def _born(self, result: Any) -> Any:
        """Count the bytes of new tensors for as long as they live."""
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor) and tensor.is_meta:
                storage = tensor.untyped_storage()
                if storage not in self._storages:
                    self._storages.add(storage)
                    self.alive += storage.nbytes()
                    self.peak = max(self.peak, self.alive)
                    weakref.finalize(storage, self._died, storage.nbytes()).atexit = False
        return result

    def _died(self, size: int) -> None:
        self.alive -= size


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of these tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@dataclass(frozen=True)
class _New:
    """The layouts of new tensors, and the tuple or list they come in, if any."""

    container: type | None
    layouts: tuple[tuple[Any, ...] | None, ...]

    def made(self) -> Any:
        tensors = [None if each is None else self._tensor(*each) for each in self.layouts]
        return tensors[0] if self.container is None else self.container(tensors)

    @staticmethod
    def _tensor(shape: torch.Size, stride: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.empty_strided(shape, stride, dtype=dtype, device="meta")


_Repeats = Callable[[Any], Any] | None
"""From the arguments of an operation to its result; None: it has to run again."""


def _itself(arguments: Any) -> Any:
    return arguments[0]


def _repeated(func: Any, result: Any, args: Any) -> _Repeats:
    schema = func._schema
    if schema.is_mutable:
        return _itself if args and result is args[0] else None
    if _is_old(func):
        return None
    container = type(result) if isinstance(result, tuple | list) else None
    several = result if container else (result,)
    if not all(one is None or (isinstance(one, Tensor) and one.is_meta) for one in several):
        return None
    new = _New(container, tuple(None if one is None else (one.shape, one.stride(), one.dtype) for one in several))
    return lambda arguments: new.made()


@cache
def _is_old(func: Any) -> bool:
    """Whether the result is, or shows, one of the arguments."""
    return any(each.alias_info is not None for each in func._schema.returns)


def _key(arguments: Iterable[Any]) -> tuple[Any, ...] | None:
    """What determines the layout of a result; None if it is not only meta tensors."""
    found: list[Any] = []
    for one in arguments:
        if isinstance(one, Tensor):
            if not one.is_meta:
                return None
            found.append((one.shape, one.stride(), one.dtype, one.is_conj()))
        elif isinstance(one, tuple | list):
            inner = _key(one)
            if inner is None:
                return None
            found.append(inner)
        else:
            found += (type(one), one)  # 1, 1.0 and True are equal
    return tuple(found)
