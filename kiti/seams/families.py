"""The additions of the models that the papers train, by the classes of their blocks.

Classes are compared by name, so that no library is imported; a class that a library derives at run time, as FSDP does,
has the block's among its bases.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from kiti.residual import Residual
from kiti.seams.names import OUTPUT


@dataclass(frozen=True)
class Place:
    """One addition x + v of a model.

    `branch`, `shortcut`, `of_output`: as for `Seam`. `axis`: the axis of D; None if the model does not tell.
    `size`: D; None if only the input tells. `dims`: how many axes x has, if known.
    """

    branch: str
    shortcut: str
    of_output: bool
    axis: int | None
    size: int | None = None
    dims: int | None = None


@dataclass(frozen=True)
class Family:
    """A kind of block, and which of its additions the papers replace.

    `ends`: the names (branch, shortcut) within a block; a shortcut ending in ":output" is a module that returns x.
    `size`: D of a block.
    `papers`: which of all blocks, in the model's order, the papers open.
    """

    ends: Callable[[Any], list[tuple[str, str]]]
    size: Callable[[Any], int]
    axis: int
    dims: int
    papers: Callable[[list[tuple[str, Any]]], list[tuple[str, Any]]] = lambda blocks: blocks


def _last_stage(blocks: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    stage = blocks[-1][0].rpartition(".")[0]
    return [(name, block) for name, block in blocks if name.rpartition(".")[0] == stage]


def _last_block(blocks: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return blocks[-1:]


def _resnet(convolution: str, norm: str) -> Family:
    """torchvision's block, or timm's, which may have attention over channels and stochastic depth behind the norm."""

    def ends(block: Any) -> list[tuple[str, str]]:
        last = next(name for name in ("drop_path", "se", norm) if getattr(block, name, None) is not None)
        if block.downsample is None:
            return [(last, "conv1")]
        # The last layer of the projection, not the sequence: torch.fx does not see inside a layer.
        inside = list(dict(block.downsample.named_children())) if isinstance(block.downsample, nn.Sequential) else []
        return [(last, ".".join(["downsample", *inside[-1:]]) + OUTPUT)]

    def size(block: Any) -> int:
        return int(getattr(block, convolution).out_channels)

    return Family(ends, size, axis=1, dims=4, papers=_last_stage)


def _convnext(block: Any) -> list[tuple[str, str]]:
    plain = isinstance(block.shortcut, nn.Identity)
    return [("drop_path", "conv_dw" if plain else f"shortcut{OUTPUT}")]


_BASIC = _resnet("conv2", "bn2")
_BOTTLENECK = _resnet("conv3", "bn3")
FAMILIES = {
    "transformers.models.gpt2.modeling_gpt2.GPT2Block": Family(
        lambda block: [("attn", "ln_1")], lambda block: int(block.ln_1.normalized_shape[0]), axis=2, dims=3
    ),
    "transformers.models.qwen2.modeling_qwen2.Qwen2DecoderLayer": Family(
        lambda block: [("self_attn", "input_layernorm")], lambda block: int(block.hidden_size), axis=2, dims=3
    ),
    "transformers.models.bert.modeling_bert.BertLayer": Family(
        lambda block: [("attention.output.dropout", "attention"), ("output.dropout", "intermediate")],
        lambda block: int(block.output.dense.out_features),
        axis=2,
        dims=3,
        papers=_last_block,
    ),
    "transformers.models.distilbert.modeling_distilbert.TransformerBlock": Family(
        lambda block: [("attention", "attention"), ("ffn", "ffn")],
        lambda block: int(block.ffn.lin2.out_features),
        axis=2,
        dims=3,
        papers=_last_block,
    ),
    "torchvision.models.resnet.BasicBlock": _BASIC,
    "torchvision.models.resnet.Bottleneck": _BOTTLENECK,
    "timm.models.resnet.BasicBlock": _BASIC,
    "timm.models.resnet.Bottleneck": _BOTTLENECK,
    "timm.models.convnext.ConvNeXtBlock": Family(
        _convnext, lambda block: int(block.conv_dw.out_channels), axis=1, dims=4, papers=_last_stage
    ),
}


def known_places(model: nn.Module, everywhere: bool = False) -> list[Place]:
    """The additions that the papers replace in a model of a known family; all of the family if `everywhere`.

    Empty for other models.
    """
    blocks: list[tuple[str, Any]] = []
    family = None
    for name, module in model.named_modules():
        found = family_of(module)
        if found is not None:
            family = found
            blocks.append((name, module))
    if family is None:
        return []
    places = []
    for name, block in blocks if everywhere else family.papers(blocks):
        for branch, shortcut in family.ends(block):
            of_output = shortcut.endswith(OUTPUT)
            inside = f"{name}." if name else ""
            places.append(
                Place(
                    inside + branch,
                    inside + shortcut.removesuffix(OUTPUT),
                    of_output,
                    family.axis,
                    family.size(block),
                    family.dims,
                )
            )
    return places


def family_of(module: nn.Module) -> Family | None:
    """The family of a block; None if it is not a known one."""
    names = (f"{one.__module__}.{one.__qualname__}" for one in type(module).__mro__)
    return next((FAMILIES[name] for name in names if name in FAMILIES), None)


def own_seams(model: nn.Module) -> list[tuple[str, Residual]]:
    """The residuals that a model calls itself, as those of kiti do, by name."""
    return [(name, m) for name, m in model.named_modules() if isinstance(m, Residual) and m.seam is None]


def described(branch: nn.Module, shortcut: nn.Module, of_output: bool) -> tuple[int | None, int | None]:
    """(axis, D) of an addition by the layers at its two ends; None where they do not tell.

    Convolutions and their norms have their features on axis 1, linear layers and their norms on the last.
    """
    axes = {axis for axis in map(_axis, branch.modules()) if axis is not None}
    if not axes:
        axes = {axis for axis in map(_axis, shortcut.modules()) if axis is not None}
    size = _size(branch, into=False)
    if size is None:
        size = _size(shortcut, into=not of_output)
    return next(iter(axes)) if len(axes) == 1 else None, size


def _axis(layer: nn.Module) -> int | None:
    if isinstance(layer, nn.Linear | nn.LayerNorm | nn.RMSNorm | nn.MultiheadAttention | nn.Embedding):
        return -1
    if type(layer).__name__ == "Conv1D" or type(layer).__name__.endswith("RMSNorm"):  # transformers
        return -1
    convolutions = nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.GroupNorm
    return 1 if isinstance(layer, convolutions) else None


def _size(layer: nn.Module, into: bool) -> int | None:
    if isinstance(layer, nn.LayerNorm | nn.RMSNorm):
        return layer.normalized_shape[-1]
    names = ("in_features", "in_channels") if into else ("out_features", "out_channels")
    sizes = (getattr(layer, name, None) for name in ("num_features", "num_channels", *names))
    return next((size for size in sizes if isinstance(size, int)), None)
