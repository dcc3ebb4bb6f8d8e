"""Seeds for the random directions of one module, from a stream of its own.

The global generators are neither used nor advanced: a model draws the same dropout masks, and a loader the same order,
with KITI and without.
"""

import zlib
from collections import deque
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from kiti.collision.directions import draw_seed, mix

_RECOMPUTABLE = 16  # how many calls, whose recomputation may still come, are remembered


@dataclass
class Draws:
    """The stream of one module: call number `call` of a training run gets the seed mix(*keys, rank, call).

    A recomputation by activation checkpointing gets the seed of the call that it repeats. Under `torch.compile` seeds
    come from torch's global generator, whose draws the compiler knows how to repeat.

    Args:
        keys: identify the model's seed and the module; by default they follow from the seed of torch's global
            generator, its state, and how many modules were created in that state.
        rank: by default that of the process in `torch.distributed`, so that data-parallel ranks draw differently.
            Ranks that compute the same features, as in tensor parallelism, need the same number.
    """

    keys: tuple[int, ...] = field(default_factory=lambda: _keys_of_a_new_module())
    rank: int | None = None
    call: int = 0
    _recomputable: deque[tuple[int, Tensor]] = field(
        default_factory=lambda: deque(maxlen=_RECOMPUTABLE), repr=False, compare=False
    )

    def restart(self, *keys: int) -> None:
        """Continue with call 0 of the stream with these keys."""
        self.keys, self.call = keys, 0
        self._recomputable.clear()

    def generator(self, x: Tensor, v: Tensor) -> torch.Generator | None:
        """A new CPU generator for the call with these features; None, the global one, under torch.compile."""
        if torch.compiler.is_compiling():
            return None
        return torch.Generator().manual_seed(self.seed(x, v))

    def seed(self, x: Tensor, v: Tensor) -> int:
        """The seed of the call with these features."""
        _Created.trained = True
        if torch._C._current_graph_task_id() != -1 and self._recomputable:  # within a backward
            return self._seed(self._repeated(x, v))
        call, self.call = self.call, self.call + 1
        if _may_be_recomputed():
            self._recomputable.append((call, _fingerprint(x, v)))
        return self._seed(call)

    def _seed(self, call: int) -> int:
        rank = self.rank
        if rank is None:
            distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
            rank = torch.distributed.get_rank() if distributed else 0
        return mix(*self.keys, rank, call)

    def _repeated(self, x: Tensor, v: Tensor) -> int:
        """The remembered call whose features these are; of several, the last one, since backward runs in reverse."""
        if len(self._recomputable) > 1:  # compares on the device only if it must
            fingerprint = _fingerprint(x, v)
            for at in reversed(range(len(self._recomputable))):
                call, known = self._recomputable[at]
                if torch.equal(known, fingerprint):
                    del self._recomputable[at]
                    return call
        return self._recomputable.pop()[0]


def normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers with the shape, dtype and device of `like`, from one seed that `generator` gives.

    None is the global generator of that device.
    """
    if generator is None:
        return torch.randn_like(like)
    on_device = torch.Generator(like.device).manual_seed(int(draw_seed(generator)))
    return torch.randn(like.shape, generator=on_device, dtype=like.dtype, device=like.device)


class _Created:
    """Counts the modules created in one state of the global generator, before any of them was trained."""

    state: int | None = None
    modules = 0
    trained = False


def _keys_of_a_new_module() -> tuple[int, ...]:
    with _disable_current_modes():  # a model may be created on fake tensors
        state = zlib.crc32(torch.default_generator.get_state().numpy().tobytes())
    if state != _Created.state or _Created.trained:
        _Created.state, _Created.modules, _Created.trained = state, 0, False
    _Created.modules += 1
    return torch.initial_seed() & (2**64 - 1), state, _Created.modules - 1


def _may_be_recomputed() -> bool:
    """Whether activation checkpointing may run: it packs saved tensors, or has switched gradients off."""
    if torch._C._are_functorch_transforms_active():
        return False
    return not torch.is_grad_enabled() or torch._C._autograd._top_saved_tensors_default_hooks(True) is not None


def _fingerprint(x: Tensor, v: Tensor) -> Tensor:
    """Sums that tell two calls apart."""
    return torch.stack([x.detach().sum(dtype=torch.float32), v.detach().sum(dtype=torch.float32)]).nan_to_num()
