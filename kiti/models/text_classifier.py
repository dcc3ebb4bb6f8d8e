"""transformers' BERT and DistilBERT classifiers of texts with KITINet's seam in their final layer.

    final layer:  h <- LN( residual(x = h, v = attn(h)) );  h <- LN( residual(x = h, v = ffn(h)) )

"The final transformer layer" (KITINet, Table 5) has two residual connections, and the paper does not say which one it
means; the default is both (A10). Both models normalise after the addition, so the collision comes before the LayerNorm.
The velocity is what the stock model adds, after its dropout. D is the d_model features of one token (A2).

The models are transformers' own, with hooks (`kiti.open_seam`).
"""

import hashlib
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
)
from transformers.utils import logging

from kiti.collision.rules import check_choice
from kiti.models import pretrained_files
from kiti.models.text_classifier_keys import CONFIG_NAMES
from kiti.residual import Add, ResidualFactory
from kiti.seams.families import known_places
from kiti.seams.opening import open_places
from kiti.units.keys import FilesError

FAMILIES: dict[str, tuple[type, type[PreTrainedModel]]] = {
    "bert": (BertConfig, BertForSequenceClassification),
    "distilbert": (DistilBertConfig, DistilBertForSequenceClassification),
}
RESIDUALS = ("both", "attention", "ffn")
HEADS = {"bert": ("classifier", "bert.pooler.dense"), "distilbert": ("classifier", "pre_classifier")}
"""The layers after the encoder. A folder with an encoder lacks the classifier, and may lack the others."""


def build_text_classifier(
    family: str,
    num_classes: int = 2,
    *,
    encoder: str | None = None,
    path: str | None = None,
    commit: str | None = None,
    weights: str | None = None,
    vocab_size: int = 30522,
    width: int = 768,
    layers: int | None = None,
    heads: int = 12,
    ffn: int = 3072,
    positions: int = 512,
    residuals: str = "both",
    head: str = "new",
    seed: int = 0,
    residual: ResidualFactory = Add,
    **config: Any,
) -> PreTrainedModel:
    """Tokens (B, T) -> logits (B, num_classes); float32, in training mode, with SDPA attention.

    Args:
        family: "bert" or "distilbert".
        encoder: what the pretrained encoder is called; for records only.
        path: a local folder as `save_pretrained` writes it, or a name on the hub; None: untrained. On the meta device
            nothing is read.
        commit: of the hub's repository; None for a local folder.
        weights: sha256 of the folder's model.safetensors; None: unchecked.
        vocab_size, width, layers, heads, ffn, positions: sizes; those of a folder must be equal. By default BERT's or
            DistilBERT's base sizes.
        residuals: "both" of the final layer, or only the one around the "attention" or the "ffn".
        head: "new", for a folder without a classifier; "stored": the folder's classifier; "replaced": another one in
            its place.
        seed: determines the weights of new layers, whatever else draws random numbers.
        residual: called once per connection, in execution order, to create its module. D is the last axis.
        config: changes to `transformers.BertConfig` or `DistilBertConfig`, such as `hidden_dropout_prob`.

    Raises:
        ValueError: an option is unknown, or collision_heads does not divide D.
        FilesError: the files are missing or do not fit.
    """
    check_choice("family", family, tuple(FAMILIES))
    check_choice("residuals", residuals, RESIDUALS)
    check_choice("head", head, ("new", "stored", "replaced"))
    sizes = {
        "vocab_size": vocab_size,
        "width": width,
        "layers": layers or {"bert": 12, "distilbert": 6}[family],
        "heads": heads,
        "ffn": ffn,
        "positions": positions,
    }
    if path is None or torch.get_default_device().type == "meta":
        kind, made = FAMILIES[family]
        named = {CONFIG_NAMES[family][key]: size for key, size in sizes.items()}
        model = made(kind(**named | {"num_labels": num_classes, "attn_implementation": "sdpa"} | config))
    else:
        folder = pretrained_files.folder_of(path, commit)
        pretrained_files.require(folder)
        pretrained_files.require_family(folder, family)
        pretrained_files.require_sizes(folder, CONFIG_NAMES[family], sizes)
        pretrained_files.require_head(folder, family, head, num_classes)
        if weights is not None:
            pretrained_files.require_weights(folder, weights)
        model = _loaded(folder, family, num_classes, head, seed, config)
    model.train()  # from_pretrained returns it in eval mode
    attention, around_ffn = known_places(model)
    places = {"both": [attention, around_ffn], "attention": [attention], "ffn": [around_ffn]}
    open_places(model, places[residuals], residual)
    return model


def _loaded(
    folder: Path, family: str, num_classes: int, head: str, seed: int, config: dict[str, Any]
) -> PreTrainedModel:
    # It lists what is missing, which is checked below.
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with torch.random.fork_rng([]):
            loaded: Any = FAMILIES[family][1].from_pretrained(
                folder,
                num_labels=num_classes,
                dtype=torch.float32,  # by default it takes the folder's
                attn_implementation="sdpa",
                use_safetensors=True,
                ignore_mismatched_sizes=head == "replaced",
                output_loading_info=True,
                **config,
            )
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
    model, found = loaded
    absent = {
        name.rpartition(".")[0] for name in (*found["missing_keys"], *(each[0] for each in found["mismatched_keys"]))
    }
    if foreign := absent - set(HEADS[family]):
        raise FilesError(f"{folder}: its weights lack {', '.join(sorted(foreign)[:3])} of a {family} encoder")
    new = absent if head != "replaced" else absent | {name for name in HEADS[family] if "pooler" not in name}
    if "bert.pooler.dense" in new:
        warnings.warn(f"{folder} has no pooler: a new one is drawn", stacklevel=3)
    for name in sorted(new):
        _draw(model.get_submodule(name), model.config.initializer_range, f"{seed}/{name}")
    return model  # type: ignore[no-any-return]


@torch.no_grad()
def _draw(layer: nn.Module, std: float, key: str) -> None:
    """Weights N(0, std²) and a zero bias, as transformers has them, by random numbers of their own."""
    assert isinstance(layer, nn.Linear)
    draw = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1)
    layer.weight.copy_(torch.randn(layer.weight.shape, generator=draw) * std)
    layer.bias.zero_()
