"""The first layers of a BERT encoder as a DistilBERT: a stand-in for DistilBERT where there is none.

DistilBERT has BERT's layers, but no segments and no pooler. Segment 0's embedding is added to those of the positions,
so texts without a partner get the features of BERT's layers, up to rounding. Nothing is trained or distilled: the cut
stands in for DistilBERT's shape, not for what it has learnt.
"""

import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import BertConfig, DistilBertConfig

from kiti.models import pretrained_files
from kiti.models.pretrained_files import CONFIG, NAMES, WEIGHTS
from kiti.units.keys import FilesError

LAYERS = {
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}
"""The names of a layer's parts, in BERT and in DistilBERT."""


def write_first_layers(encoder: Path, place: Path, layers: int) -> str:
    """Write the first `layers` of the BERT encoder in folder `encoder` to folder `place`, with its tokenizer.

    The same files in give the same files out. `place` must not exist; all of it is written, or nothing.

    Returns:
        sha256 of the weights written.

    Raises:
        FilesError: `encoder` is no BERT, has fewer layers, or differs from DistilBERT in its norms or activation.
        FileExistsError: `place` exists.
    """
    pretrained_files.require(encoder)
    pretrained_files.require_family(encoder, "bert")
    config = BertConfig.from_pretrained(encoder)
    if not 1 <= layers <= config.num_hidden_layers:
        raise FilesError(f"{encoder}: {config.num_hidden_layers} layers; {layers} cannot be cut from them")
    if (config.layer_norm_eps, config.hidden_act) != (1e-12, "gelu"):
        raise FilesError(f"{encoder}: DistilBERT has layer_norm_eps=1e-12 and GELU, and this encoder has not")
    if place.exists():
        raise FileExistsError(f"{place} exists")
    stored = {name.removeprefix("bert."): value for name, value in load_file(encoder / WEIGHTS).items()}
    partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        save_file(_renamed(stored, layers), partial / WEIGHTS, metadata={"format": "pt"})
        (partial / CONFIG).write_text(
            json.dumps(_config(config, layers).to_diff_dict(), indent=2, sort_keys=True) + "\n"
        )
        for name in NAMES:
            if name not in (CONFIG, WEIGHTS) and (encoder / name).is_file():
                shutil.copyfile(encoder / name, partial / name)
        os.rename(partial, place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return pretrained_files.sha256(place / WEIGHTS)


def _config(bert: BertConfig, layers: int) -> DistilBertConfig:
    return DistilBertConfig(
        vocab_size=bert.vocab_size,
        max_position_embeddings=bert.max_position_embeddings,
        n_layers=layers,
        n_heads=bert.num_attention_heads,
        dim=bert.hidden_size,
        hidden_dim=bert.intermediate_size,
        dropout=bert.hidden_dropout_prob,
        attention_dropout=bert.attention_probs_dropout_prob,
        pad_token_id=bert.pad_token_id,
        architectures=["DistilBertModel"],
    )


def _renamed(bert: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """DistilBERT's tensors, float32."""
    segment = bert["embeddings.token_type_embeddings.weight"][0]
    cut = {
        "embeddings.word_embeddings.weight": bert["embeddings.word_embeddings.weight"],
        "embeddings.position_embeddings.weight": bert["embeddings.position_embeddings.weight"].float() + segment,
        **{f"embeddings.LayerNorm.{part}": bert[f"embeddings.LayerNorm.{part}"] for part in ("weight", "bias")},
    }
    for layer in range(layers):
        for ours, theirs in LAYERS.items():
            for part in ("weight", "bias"):
                cut[f"transformer.layer.{layer}.{theirs}.{part}"] = bert[f"encoder.layer.{layer}.{ours}.{part}"]
    return {name: tensor.to(torch.float32).contiguous() for name, tensor in sorted(cut.items())}
