"""transformers' GPT-2 with KITINet's seam after the attention of every layer.

    layer:  h <- residual(x = h, v = attn(ln_1(h)));  h <- h + mlp(ln_2(h))

"The residual after the attention module" (Table 1) is read as the first of the two additions in every layer (P1).
The velocity is what stock GPT-2 adds, after the projection and its dropout. D is the d_model features of one token; a
collision never mixes tokens, which would let a token see its future (A2), and for the same reason the factory keeps
`max_over="system"`.

The model keeps transformers' class, `state_dict` and initial weights for a given seed. Like dropout, collisions follow
train() and eval(), and `generate` calls neither.
"""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.cache_utils import Cache
from transformers.models.gpt2.modeling_gpt2 import GPT2Block

from kiti.collision.rules import check_choice
from kiti.models.seam import attach
from kiti.residual import Add, Residual, ResidualFactory

SIZES = {
    "gpt2": {"n_embd": 768, "n_layer": 12, "n_head": 12},  # 124 M parameters
    "gpt2-medium": {"n_embd": 1024, "n_layer": 24, "n_head": 16},  # 355 M
    "gpt2-large": {"n_embd": 1280, "n_layer": 36, "n_head": 20},  # 774 M
    "gpt2-xl": {"n_embd": 1600, "n_layer": 48, "n_head": 25},  # 1558 M
}


class SeamGPT2Block(GPT2Block):
    """residual(x = h, v = attention) in place of the block's first addition; the second one stays."""

    residual: Residual

    def forward(  # type: ignore[override]  # the library calls hidden_states a tuple
        self,
        hidden_states: Float[Tensor, "B T D"],
        past_key_values: Cache | None = None,
        attention_mask: Any = None,  # a tensor, or flex attention's BlockMask
        encoder_hidden_states: Tensor | None = None,
        **attention: Any,
    ) -> Float[Tensor, "B T D"]:
        if encoder_hidden_states is not None:
            raise ValueError("encoder_hidden_states: a block with KITINet's seam has no cross-attention")
        v, _ = self.attn(
            self.ln_1(hidden_states), past_key_values=past_key_values, attention_mask=attention_mask, **attention
        )
        hidden_states = self.residual(hidden_states, v)
        return hidden_states + self.mlp(self.ln_2(hidden_states))


def open_seam(
    model: GPT2LMHeadModel, residual: ResidualFactory, layers: Sequence[int] | None = None
) -> GPT2LMHeadModel:
    """Use `residual` after the attention of a stock GPT-2, fresh or pretrained; modifies the model in place.

    Args:
        residual: called once per layer, in execution order, to create its module. D is the last axis.
        layers: which layers, counted from 0, or from the end if negative; None is all of them.

    Raises:
        IndexError: the model does not have one of the layers.
        ValueError: collision_heads does not divide D.
    """
    every = range(len(model.transformer.h))
    for i in every if layers is None else sorted({every[i] for i in layers}):
        block = model.transformer.h[i]
        block.__class__ = SeamGPT2Block  # keeps weights, hooks and flags; only forward changes
        block.residual = attach(residual(), 3, {2: model.config.n_embd}).train(block.training)
    return model


def build_gpt2(
    size: str = "gpt2",
    layers: Sequence[int] | None = None,
    residual: ResidualFactory = Add,
    **config: Any,
) -> GPT2LMHeadModel:
    """Tokens (B, T) -> logits (B, T, vocabulary), untrained, nothing downloaded.

    Args:
        size: "gpt2", "gpt2-medium", "gpt2-large" or "gpt2-xl".
        layers, residual: see `open_seam`.
        config: changes to `transformers.GPT2Config`, such as `resid_pdrop` or `n_layer`.

    Raises:
        ValueError: `size` is unknown.
        IndexError: the model does not have one of the layers.
    """
    check_choice("size", size, tuple(SIZES))
    return open_seam(GPT2LMHeadModel(GPT2Config(**SIZES[size] | config)), residual, layers)
