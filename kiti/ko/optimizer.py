"""`KO`: the gradients of some parameters collide before every step of an optimizer.

Order within a step: unscale, all-reduce, collide, clip, step (A28): see `max_norm` and `attach`.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import LBFGS, Optimizer

from kiti.collision.directions import mix
from kiti.collision.particles import accumulation_dtype
from kiti.collision.rules import check_choice, check_coll_coef
from kiti.ko.foreign_optimizers import (
    ATTRIBUTE,
    COEF,
    HARD,
    KEYS,
    PLACEBO,
    SEED,
    STEP,
    Steps,
    initialises,
    is_skipped,
    state_in,
    unwrapped,
)
from kiti.ko.given_parameters import check_matrices, check_owned, named, neurons_of
from kiti.ko.gradient_collisions import check_soft_coef, hard_collision_and_pairs, soft_collision_relabelled
from kiti.ko.neuron_axes import Neurons
from kiti.ko.placebos import PLACEBOS, noise_for, scaled_as
from kiti.ko.selection import NamedParameters
from kiti.ko.sharding import clip, gathered, sharded_like

MODES = ("soft", "hard")


class KO:
    """Collides the gradients of some parameters just before every step of an optimizer.

    Parameters without a gradient are skipped. KO has its own generator for directions, keyed by (seed, step,
    parameter): they are the same on every rank, and the global generators are not used. A step that torch's GradScaler
    skips, or in which torch.distributed.checkpoint initialises an optimizer, neither collides nor counts. A fused
    optimizer unscales its gradients later, which makes no difference: both collisions are homogeneous. Matrices that
    are sharded as DTensors (FSDP2, tensor parallelism) are gathered one at a time.

    An optimizer has one KO. Its state is saved and restored with the optimizer's, in the first parameter group; a KO
    that is created for an optimizer that has loaded such a state continues it. Copies and pickles of the optimizer have
    the state but no KO, and their first step raises RuntimeError.

    Args:
        optimizer: any torch optimizer; one that wraps another, such as accelerate's or timm's Lookahead, is unwrapped.
            With `attach`, its step must not be given a closure, which would compute new gradients after the collision;
            LBFGS always needs one.
        params: what `kiti.matrices` returns, or a mapping or pairs of names and parameters; all owned by `optimizer`.
        mode: "soft" or "hard".
        coll_coef: as in `soft_collision` or `hard_collision`. Its meaning differs between the two: soft's is the size
            of a step, of the order of 1/N for N neurons; hard's is a threshold in [0, 1].
        seed: of the directions (hard).
        neuron_dim: the axis of the neurons, for all parameters or by name. None: what `kiti.matrices` or `select` read
            from the layers; the first axis of parameters that are passed by hand.
        max_norm: after the collision, clip the norm of all gradients of the optimizer to this, as torch's
            clip_grad_norm_ does. Switch off the trainer's own clipping, which comes before.
        include_self, normalize: see `soft_collision`.
        approach_only: see `hard_collision`.
        placebo: in place of the collision of `mode`, something as large that is none (docs/placebos.md): "noise" of the
            same norm in each row, "random_pairs" in place of the accepted ones, or "scale", the gradient at the length
            that the collision would give it. None collides.
        replicas: number of independent networks along the first axis of each parameter; neurons are on the second axis.
            Replica r collides only within itself, with directions drawn from seed + r. None: no such axis.
        attach: collide in a hook of the optimizer's step. If False, call `collide` yourself, before the loop clips.

    Raises:
        ValueError: an argument is out of range, a parameter is not a real matrix or not owned by the optimizer, or the
            optimizer has a KO or state of another mode, coll_coef or placebo; later, for a sparse gradient, a closure,
            such a state, or parameters that the optimizer no longer has.
        TypeError: `optimizer` is no optimizer, or wraps one in an unknown way.

    Warns:
        UserWarning: once, if a collision changes a gradient by more than its own norm, which is looked at in every step
            on the CPU and in steps 1, 2, 4, 8, … on a GPU; once, if a step finds no gradient.

    Attributes:
        attached: whether it collides in a hook of the optimizer's step.
        step_count: collisions so far.
        relative_change: |Δg|/|g| of the last collision by name, over all replicas together, as 0-dim tensors on the
            parameters' devices.
        pairs: the pairs of neurons that collided in the last hard collision, by name; a mean over replicas, or over the
            parts of a matrix that collide apart.

    Example:
        >>> import torch, kiti
        >>> model = torch.nn.Linear(8, 4)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> ko = kiti.KO(optimizer, kiti.matrices(model), mode="soft", coll_coef=0.01)
        >>> model(torch.ones(1, 8)).sum().backward()
        >>> optimizer.step()
        >>> ko
        KO(mode=soft, coll_coef=0.01, 1 matrices, 1 steps, relative change ... on average)
    """

    def __init__(
        self,
        optimizer: Optimizer,
        params: NamedParameters,
        mode: str,
        coll_coef: int | float,
        *,
        seed: int = 0,
        neuron_dim: int | Mapping[str, int] | None = None,
        max_norm: float | None = None,
        include_self: bool = True,
        normalize: bool = False,
        approach_only: bool = False,
        placebo: str | None = None,
        replicas: int | None = None,
        attach: bool = True,
    ) -> None:
        check_choice("mode", mode, MODES)
        if placebo is not None:
            check_choice("placebo", placebo, PLACEBOS)
        (check_coll_coef if mode == "hard" else check_soft_coef)(coll_coef)
        if max_norm is not None and not max_norm > 0:
            raise ValueError(f"max_norm={max_norm!r}: a positive number is needed, or None for no clipping")
        if replicas is not None and neuron_dim is not None:
            raise ValueError(f"neuron_dim={neuron_dim!r}: with replicas={replicas} neurons are on the second axis")
        self.optimizer = unwrapped(optimizer)
        self.params = named(params)
        self.neurons = neurons_of(params, self.params, neuron_dim)
        self.mode, self.coll_coef, self.max_norm = mode, coll_coef, max_norm
        self.include_self, self.normalize, self.approach_only = include_self, normalize, approach_only
        self.placebo, self.replicas = placebo, replicas
        self.relative_change: dict[str, Tensor] = {}
        self.pairs: dict[str, float] = {}
        self._hooks: list[Any] = []
        self._warned = self._idle = False  # each warning comes once
        self._detached: dict[str, Any] = {}  # what the parameter group had
        check_owned(self.params, self.optimizer)
        check_matrices(self.params, replicas)
        if hasattr(self.optimizer, ATTRIBUTE):
            raise ValueError(
                f"the {type(self.optimizer).__name__} optimizer has a KO already: give one KO all parameters, or call "
                "its detach() first"
            )
        held = state_in(self._group)
        if held is not None:
            self._check_same(held)
        self.attached = attach
        if attach:
            self._attach()
        self._hooks += [
            self.optimizer.register_state_dict_post_hook(_save_plain),
            self.optimizer.register_load_state_dict_pre_hook(self._before_load),
            self.optimizer.register_load_state_dict_post_hook(self._after_load),
        ]
        self._write(held or {"seed": seed, "step": 0})
        setattr(self.optimizer, ATTRIBUTE, self)

    @property
    def step_count(self) -> int:
        return int(self._group[STEP])

    @property
    def seed(self) -> int:
        return int(self._group[SEED])

    @torch.no_grad()
    def collide(self) -> None:
        """Collide the gradients now, in place, as one step, and clip them to `max_norm`."""
        self.relative_change, self.pairs = {}, {}
        for index, (name, parameter) in enumerate(self.params.items()):
            if parameter.grad is None:
                continue
            if parameter.grad.layout != torch.strided:
                raise ValueError(f"gradient of {name!r} has layout {parameter.grad.layout}: a dense one is needed")
            grad = gathered(parameter.grad)
            collided, pairs = self._collided(gathered(parameter.detach()), grad, index, self.neurons[name])
            if self.mode == "hard":
                self.pairs[name] = sum(pairs) / max(1, len(pairs))
            dtype = accumulation_dtype(grad.dtype)
            before = torch.linalg.vector_norm(grad, dtype=dtype)
            change = torch.linalg.vector_norm(collided.to(dtype) - grad.to(dtype))
            self.relative_change[name] = torch.where(before == 0, 0, change / before)
            parameter.grad.copy_(sharded_like(collided, parameter.grad))
        self._group[STEP] = Steps(self.step_count + 1, live=True)
        self._warn_of_large_changes()
        if self.max_norm is not None:
            clip(self.optimizer, self.max_norm)

    def detach(self) -> None:
        """Remove the hooks, and the state, from the optimizer."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        if getattr(self.optimizer, ATTRIBUTE, None) is self:
            delattr(self.optimizer, ATTRIBUTE)
            self._detached = {key: self._group.pop(key) for key in KEYS if key in self._group}

    def state_dict(self) -> dict[str, int | str | float]:
        """The plain values that a run needs to continue as if it had never stopped."""
        state: dict[str, int | str | float]
        state = {"seed": self.seed, "step": self.step_count, "mode": self.mode, "coll_coef": self.coll_coef}
        return state if self.placebo is None else {**state, "placebo": self.placebo}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore seed and step count; ValueError if the state is of another mode, coll_coef or placebo."""
        self._check_same(state)
        self._write(state)

    def __repr__(self) -> str:
        text = (
            f"KO(mode={self.mode}, coll_coef={self.coll_coef:g}, "
            + (f"placebo={self.placebo}, " if self.placebo else "")
            + f"{len(self.params)} matrices, {self.step_count} steps"
        )
        changes = [float(change) for change in self.relative_change.values() if not change.is_meta]
        if changes:
            text += f", relative change {sum(changes) / len(changes):.3g} on average"
        return text + ")"

    @property
    def _group(self) -> dict[str, Any]:
        return self._detached or self.optimizer.param_groups[0]

    def _write(self, state: Mapping[str, Any]) -> None:
        kept = {STEP: Steps(int(state["step"]), live=True), SEED: int(state["seed"])}
        placebo = {} if self.placebo is None else {PLACEBO: 1 + PLACEBOS.index(self.placebo)}
        self._group.update(kept | {HARD: int(self.mode == "hard"), COEF: float(self.coll_coef)} | placebo)

    def _check_same(self, state: Mapping[str, Any]) -> None:
        saved = {"mode": self.mode, "coll_coef": self.coll_coef, "placebo": None} | dict(state)
        for what in ("mode", "coll_coef", "placebo"):
            ours, theirs = getattr(self, what), saved[what]
            if ours != theirs:
                raise ValueError(
                    f"{what}={ours!r}, but the state to load was saved with {what}={theirs!r}: create the KO with "
                    "that, or start from the weights alone"
                )

    def _collided(self, weight: Tensor, grad: Tensor, index: int, neurons: Neurons) -> tuple[Tensor, list[int]]:
        """The gradient after the collision, and the pairs that collided in each replica or part."""
        if self.replicas is not None:
            replicas = zip(weight.flatten(2), grad.flatten(2), strict=True)
            each = [self._of_one(w, g, (index,), self.seed + replica) for replica, (w, g) in enumerate(replicas)]
            return torch.stack([collided for collided, _ in each]).view(grad.shape), [pairs for _, pairs in each]
        pairs = zip(neurons.rows(weight), neurons.rows(grad), strict=True)
        parts = [
            self._of_one(w, g, (index,) if neurons.parts == 1 else (index, part), self.seed)
            for part, (w, g) in enumerate(pairs)
        ]
        return neurons.restore([collided for collided, _ in parts], grad), [pairs for _, pairs in parts]

    def _of_one(self, weight: Tensor, grad: Tensor, keys: tuple[int, ...], seed: int) -> tuple[Tensor, int]:
        draws = self.mode == "hard" or self.placebo is not None
        generator = torch.Generator().manual_seed(mix(seed, self.step_count, *keys)) if draws else None
        random = self.placebo == "random_pairs"
        if self.mode == "soft":
            options: dict[str, Any] = {"include_self": self.include_self, "normalize": self.normalize}
            relabelled_by = generator if random else None
            collided, pairs = soft_collision_relabelled(weight, grad, self.coll_coef, relabelled_by, **options), 0
        else:
            how: dict[str, Any] = {"generator": generator, "approach_only": self.approach_only, "random_pairs": random}
            collided, pairs = hard_collision_and_pairs(weight, grad, self.coll_coef, **how)
        if self.placebo == "noise":
            collided = noise_for(grad, collided, generator)
        elif self.placebo == "scale":
            collided = scaled_as(grad, collided)
        return collided, pairs

    def _warn_of_large_changes(self) -> None:
        """Reads the changes at every step on the CPU; elsewhere, where this waits for the device, at 1, 2, 4, 8, …"""
        steps = self.step_count
        for name, change in self.relative_change.items():
            if self._warned or change.is_meta or (change.device.type != "cpu" and steps & (steps - 1)):
                return
            if float(change) > 1:
                self._warned = True
                warnings.warn(
                    f"KO changes the gradient of {name} by {float(change):.3g} times its norm; lower coll_coef="
                    f"{self.coll_coef:g}",
                    stacklevel=4,
                )

    def _attach(self) -> None:
        if isinstance(self.optimizer, LBFGS):
            raise ValueError(
                "attach=True: LBFGS computes gradients inside its step, after the hook; pass attach=False and call "
                "collide() inside the closure"
            )
        self._hooks.append(self.optimizer.register_step_pre_hook(self._before_step))

    def _before_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        closure = kwargs.get("closure", next((a for a in args if a is not optimizer), None))
        if closure is not None:
            raise ValueError(
                "attach=True: step was given a closure, which computes gradients after the hook; pass attach=False "
                "and call collide() at the end of the closure, or with Lightning kiti.LightningCallback()"
            )
        if is_skipped(optimizer) or initialises(optimizer, kwargs):
            self.relative_change, self.pairs = {}, {}
            return
        self.collide()
        if not self.relative_change:
            self._nothing_collided()

    def _nothing_collided(self) -> None:
        check_owned(
            self.params, self.optimizer, ": replaced since KO was created; create it after what prepares the model"
        )
        if not self._idle:
            self._idle = True
            warnings.warn(f"KO: no gradient in any of its {len(self.params)} parameters", stacklevel=4)

    def _before_load(self, _: Optimizer, state_dict: dict[str, Any]) -> None:
        # "ko": of kiti before the state moved into the parameter group.
        state = state_dict["ko"] if "ko" in state_dict else state_in(state_dict["param_groups"][0])
        if state is not None:
            self.load_state_dict(state)
        self._loaded = self.state_dict()

    def _after_load(self, _: Optimizer) -> None:
        self._write(self._loaded)  # a loaded group replaces the optimizer's


def _save_plain(_: Optimizer, state_dict: dict[str, Any]) -> None:
    group = state_dict["param_groups"][0]
    group[STEP] = int(group[STEP])  # torch.load takes nothing else with weights_only=True
