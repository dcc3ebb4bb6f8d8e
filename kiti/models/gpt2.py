"""transformers' GPT-2 with KITINet's seam after the attention of every layer.

    layer:  h <- residual(x = h, v = attn(ln_1(h)));  h <- h + mlp(ln_2(h))

"The residual after the attention module" (Table 1) is read as the first of the two additions in every layer (P1).
The velocity is what stock GPT-2 adds, after the projection and its dropout. D is the d_model features of one token; a
collision never mixes tokens, which would let a token see its future (A2), and for the same reason the factory keeps
`max_over="system"`.

The model is transformers' own, with hooks (`kiti.open_seam`). Like dropout, collisions follow train() and eval(), and
`generate` calls neither.
"""

from collections.abc import Sequence
from typing import Any

from transformers import GPT2Config, GPT2LMHeadModel

from kiti.collision.rules import check_choice
from kiti.residual import Add, ResidualFactory
from kiti.seams.families import known_places
from kiti.seams.opening import open_places

SIZES = {
    "gpt2": {"n_embd": 768, "n_layer": 12, "n_head": 12},  # 124 M parameters
    "gpt2-medium": {"n_embd": 1024, "n_layer": 24, "n_head": 16},  # 355 M
    "gpt2-large": {"n_embd": 1280, "n_layer": 36, "n_head": 20},  # 774 M
    "gpt2-xl": {"n_embd": 1600, "n_layer": 48, "n_head": 25},  # 1558 M
}


def build_gpt2(
    size: str = "gpt2",
    layers: Sequence[int] | None = None,
    residual: ResidualFactory = Add,
    **config: Any,
) -> GPT2LMHeadModel:
    """Tokens (B, T) -> logits (B, T, vocabulary), untrained, nothing downloaded.

    Args:
        size: "gpt2", "gpt2-medium", "gpt2-large" or "gpt2-xl".
        layers: which layers have the seam, counted from 0, or from the end if negative; None is all of them.
        residual: called once per such layer, in execution order, to create its module. D is the last axis.
        config: changes to `transformers.GPT2Config`, such as `resid_pdrop` or `n_layer`.

    Raises:
        ValueError: `size` is unknown.
        IndexError: the model does not have one of the layers.
    """
    check_choice("size", size, tuple(SIZES))
    model = GPT2LMHeadModel(GPT2Config(**SIZES[size] | config)).train()
    places = known_places(model)
    every = range(len(places))
    open_places(model, [places[i] for i in (every if layers is None else sorted({every[i] for i in layers}))], residual)
    return model
