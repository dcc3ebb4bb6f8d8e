"""transformers' BERT classifier with KITINet's seam in its final layer.

    final layer:  h <- LN( residual(x = h, v = attn(h)) );  h <- LN( residual(x = h, v = ffn(h)) )

"The final transformer layer" (Table 5) has two residual connections, and the paper does not say which one it means;
the default is both (A10). BERT normalises after the addition, so the collision comes before the LayerNorm. The velocity
is what stock BERT adds, after the dense map and its dropout. D is the d_model features of one token (A2).

The model is transformers' own, with hooks (`kiti.open_seam`).
"""

from typing import Any

from transformers import BertConfig, BertForSequenceClassification

from kiti.collision.rules import check_choice
from kiti.residual import Add, ResidualFactory
from kiti.seams.families import known_places
from kiti.seams.opening import open_places

RESIDUALS = ("both", "attention", "ffn")
NAMES = {  # differences from BertConfig's defaults
    "bert-base-uncased": {},
    "bert-base-cased": {"vocab_size": 28996},
}


def build_bert(
    name: str = "bert-base-uncased",
    num_labels: int = 2,
    residuals: str = "both",
    residual: ResidualFactory = Add,
    **config: Any,
) -> BertForSequenceClassification:
    """Tokens (B, T) -> logits (B, num_labels), untrained, nothing downloaded.

    Args:
        name: "bert-base-uncased" or "bert-base-cased", which differ in their vocabulary.
        residuals: "both", or only the one around the "attention" or the "ffn".
        residual: called once per connection, in execution order, to create its module. D is the last axis.
        config: changes to `transformers.BertConfig`, such as `hidden_dropout_prob` or `num_hidden_layers`.

    Raises:
        ValueError: `name` or `residuals` is unknown, or collision_heads does not divide D.
    """
    check_choice("name", name, tuple(NAMES))
    check_choice("residuals", residuals, RESIDUALS)
    bert = BertConfig(**NAMES[name] | {"num_labels": num_labels} | config)
    model = BertForSequenceClassification(bert).train()
    attention, ffn = known_places(model)
    open_places(model, {"both": [attention, ffn], "attention": [attention], "ffn": [ffn]}[residuals], residual)
    return model
