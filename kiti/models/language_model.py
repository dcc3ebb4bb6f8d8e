"""transformers' GPT-2 and Qwen2 with KITINet's seam after the attention of each layer.

    layer:  h <- residual(x = h, v = attn(norm(h)));  h <- h + mlp(norm(h))

"The residual after the attention module" (KITINet, Table 1) is read as the first of the two additions of every layer
(P1); keys choose other layers, and the second addition. The velocity is what the stock model adds, after the projection
and its dropout. D is the d_model features of one token: a collision that mixed tokens would show a token its future.

The models are transformers' own, with hooks (`kiti.open_seam`). Like dropout, collisions follow train() and eval(), and
`generate` has neither.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM
from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding
from transformers.utils import logging

from kiti.collision.rules import check_choice
from kiti.models import pretrained_files, run_weights
from kiti.models.language_model_keys import CONFIG_NAMES
from kiti.models.tied_weights import with_tied_names
from kiti.residual import Acceleration, Add, Colliding, ResidualFactory
from kiti.seams.families import Place, known_places
from kiti.seams.fitting import SeamError
from kiti.seams.opening import open_places
from kiti.storage.weights_file import WEIGHTS
from kiti.units.keys import FilesError

FAMILIES: dict[str, tuple[Any, Any]] = {
    "gpt2": (GPT2Config, GPT2LMHeadModel),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
}
RESIDUALS = ("attention", "mlp", "both")
_MLP_ENDS = {"gpt2": ("mlp", "ln_2"), "qwen2": ("mlp", "post_attention_layernorm")}
"""The branch of the second addition, and the module whose input is its shortcut."""
_DROPOUTS = {"gpt2": ("resid_pdrop", "embd_pdrop", "attn_pdrop"), "qwen2": ("attention_dropout",)}

_NO_SPECIAL_TOKENS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
"""By default GPT2Config names token 50256, which a smaller vocabulary does not have."""
_GELU = "gelu_pytorch_tanh"
"""GPT-2's activation, which its configurations name gelu_new, by torch's fused function."""


def build_language_model(
    family: str,
    *,
    vocab_size: int,
    positions: int,
    width: int,
    layers: int,
    heads: int,
    ffn: int,
    kv_heads: int | None = None,
    rope_theta: float | None = None,
    tied: bool = True,
    dropout: float = 0.0,
    pretrained: str | None = None,
    path: str | None = None,
    commit: str | None = None,
    weights: str | None = None,
    from_run: str | None = None,
    residuals: str = "attention",
    residual_layers: Sequence[int] | None = None,
    attention: str = "sdpa",
    checkpointing: bool = False,
    seed: int = 0,
    residual: ResidualFactory = Add,
    **config: Any,
) -> PreTrainedModel:
    """Tokens (B, T) -> logits (B, T, vocab_size); float32, in training mode.

    Args:
        family: "gpt2" or "qwen2".
        vocab_size, positions, width, layers, heads, ffn: sizes; those of a folder must be equal.
        kv_heads, rope_theta: Qwen2's number of heads of keys and values, and the base of its rotary frequencies.
        tied: whether the embedding is the head's matrix too.
        dropout: of attention, and for GPT-2 of embeddings and both branches.
        pretrained: what the pretrained model is called; for records only.
        path: a local folder as `save_pretrained` writes it, or a name on the hub; None: untrained, drawn with torch's
            random numbers. On the meta device nothing is read.
        commit: of the hub's repository; None for a local folder.
        weights: sha256 of the folder's model.safetensors; None: unchecked.
        from_run: the finished run of the same `seed` whose directory `path` is; its weights are those to start from.
        residuals: which additions have the seam: "attention", "mlp" or "both".
        residual_layers: in which layers, counted from 0, or from the end if negative; None is all of them.
        attention: transformers' implementation, "sdpa" or "eager".
        checkpointing: recompute each layer's activations in the backward pass instead of keeping them.
        seed: of the run to start from. That of an untrained model's weights is torch's own.
        residual: called once per addition, in execution order, to create its module. D is the last axis.
        config: changes to transformers' configuration, such as `initializer_range`. GPT-2's activation is
            gelu_pytorch_tanh, which is gelu_new in one operation.

    Raises:
        ValueError: an option is unknown, or collision_heads does not divide D.
        IndexError: the model does not have one of the layers.
        SeamError: the residual mixes tokens, which would show a token its future.
        FilesError: the files are missing or do not fit.
    """
    check_choice("family", family, tuple(FAMILIES))
    check_choice("residuals", residuals, RESIDUALS)
    sizes = {"vocab_size": vocab_size, "positions": positions, "width": width, "layers": layers, "heads": heads}
    sizes |= {"ffn": ffn, **({} if kv_heads is None else {"kv_heads": kv_heads})}
    changes = {"attn_implementation": attention, **dict.fromkeys(_DROPOUTS[family], dropout), **config}
    if family == "gpt2":
        changes.setdefault("activation_function", _GELU)
    if path is None or from_run is not None or torch.get_default_device().type == "meta":
        named = {CONFIG_NAMES[family][key]: size for key, size in sizes.items()}
        rotary = {} if rope_theta is None else {"rope_parameters": {"rope_type": "default", "rope_theta": rope_theta}}
        kind, made = FAMILIES[family]
        said = named | rotary | _NO_SPECIAL_TOKENS | {"tie_word_embeddings": tied} | changes
        model = made(kind(**said))
        if from_run is not None and path is not None and model.device.type != "meta":
            run_weights.require_run(Path(path), from_run, seed)
            model.load_state_dict(with_tied_names(model, load_file(Path(path) / WEIGHTS)))
    else:
        folder = pretrained_files.folder_of(path, commit)
        pretrained_files.require(folder)
        pretrained_files.require_family(folder, family)
        pretrained_files.require_sizes(folder, CONFIG_NAMES[family], sizes)
        pretrained_files.require_language_model(folder, family)
        if weights is not None:
            pretrained_files.require_weights(folder, weights)
        if pretrained_files.read_config(folder).get("activation_function", "gelu_new") != "gelu_new":
            changes = {key: value for key, value in changes.items() if key != "activation_function" or key in config}
        model = _loaded(folder, family, changes)
    model.train()  # from_pretrained returns it in eval mode
    _keep_frequencies(model)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    open_places(model, _places(model, family, residuals, residual_layers), lambda: _of_one_token(residual()))
    return model


def _loaded(folder: Path, family: str, changes: dict[str, Any]) -> PreTrainedModel:
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # it lists what is missing, which is checked below
    logging.disable_progress_bar()
    try:
        loaded: Any = FAMILIES[family][1].from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **changes
        )
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
    model, found = loaded
    if missing := sorted(found["missing_keys"]):
        raise FilesError(f"{folder}: its weights lack {', '.join(missing[:3])} of a {family}")
    return model  # type: ignore[no-any-return]


def _places(model: PreTrainedModel, family: str, residuals: str, layers: Sequence[int] | None) -> list[Place]:
    """The additions with the seam, in execution order."""
    branch, shortcut = _MLP_ENDS[family]
    found = []
    first = known_places(model)
    every = range(len(first))
    for layer in every if layers is None else sorted({every[i] for i in layers}):
        place = first[layer]
        block = place.branch.rpartition(".")[0]
        second = replace(place, branch=f"{block}.{branch}", shortcut=f"{block}.{shortcut}")
        found += {"attention": [place], "mlp": [second], "both": [place, second]}[residuals]
    return found


def _of_one_token(residual: Any) -> Any:
    """The residual, if what it does to a token depends on this token alone. SeamError otherwise."""
    if isinstance(residual, Colliding) and residual.rules.max_over != "system":
        raise SeamError(
            f"max_over={residual.rules.max_over}: in a causal model it would show a token its future; "
            "use max_over=system"
        )
    if isinstance(residual, Acceleration):
        raise SeamError(
            "residual=kiti_acceleration scales its first velocities by the whole batch, which would show a token of a "
            "causal model its future; use residual=kiti"
        )
    return residual


class _Rotary(Qwen2RotaryEmbedding):
    """transformers' rotary embedding, whose frequencies stay float32 when the model is cast to another type.

        f_i = theta^(-2i / d),  i = 0, ..., d/2 - 1

    A cast to bfloat16 would round them to three digits, and no later cast brings these back.
    """

    def _apply(self, fn: Any, recurse: bool = True) -> "_Rotary":
        super()._apply(fn, recurse)
        if not self.inv_freq.is_meta:
            self.inv_freq, self.original_inv_freq = (self.frequencies(self.inv_freq.device) for _ in range(2))
        return self

    def frequencies(self, device: torch.device) -> torch.nn.Buffer:
        exact, _ = self.compute_default_rope_parameters(self.config)
        return torch.nn.Buffer(exact.to(device), persistent=False)


def _keep_frequencies(model: PreTrainedModel) -> None:
    for module in model.modules():
        if type(module) is Qwen2RotaryEmbedding:
            if module.rope_type != "default":
                raise FilesError(f"rope_type={module.rope_type}: only the default rotary embedding is supported")
            module.__class__ = _Rotary


def materialise(model: PreTrainedModel, device: torch.device | str) -> PreTrainedModel:
    """Give a model that was built on the meta device memory on `device`, and draw its weights as transformers does.

    Embedding and head are one tensor again if the configuration ties them, and rotary frequencies have their values.
    """
    model.to_empty(device=device)
    model.tie_weights()
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            parameter._is_hf_initialized = False  # type: ignore[attr-defined]
        module._is_hf_initialized = False  # type: ignore[assignment]
    model.init_weights()
    return model
