"""transformers' BERT classifier with KITINet's seam in its final layer.

    final layer:  h <- LN( residual(x = h, v = attn(h)) );  h <- LN( residual(x = h, v = ffn(h)) )

"The final transformer layer" (Table 5) has two residual connections, and the paper does not say which one it means;
the default is both (A10). BERT normalises after the addition, so the collision comes before the LayerNorm. The velocity
is what stock BERT adds, after the dense map and its dropout. D is the d_model features of one token (A2).

The model keeps transformers' class, `state_dict` and initial weights for a given seed.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification
from transformers.models.bert.modeling_bert import BertOutput, BertSelfOutput

from kiti.collision.rules import check_choice
from kiti.models.seam import attach
from kiti.residual import Add, Residual, ResidualFactory

RESIDUALS = ("both", "attention", "ffn")
NAMES = {  # differences from BertConfig's defaults
    "bert-base-uncased": {},
    "bert-base-cased": {"vocab_size": 28996},
}


class SeamSelfOutput(BertSelfOutput):
    """End of the attention: LN(residual(x = its input, v = its output)) in place of the addition."""

    residual: Residual

    def forward(
        self, hidden_states: Float[Tensor, "B T D"], input_tensor: Float[Tensor, "B T D"]
    ) -> Float[Tensor, "B T D"]:
        return self.LayerNorm(self.residual(input_tensor, self.dropout(self.dense(hidden_states))))


class SeamOutput(BertOutput):
    """End of the feed-forward network: LN(residual(x = its input, v = its output))."""

    residual: Residual

    def forward(
        self, hidden_states: Float[Tensor, "B T H"], input_tensor: Float[Tensor, "B T D"]
    ) -> Float[Tensor, "B T D"]:
        return self.LayerNorm(self.residual(input_tensor, self.dropout(self.dense(hidden_states))))


def open_seam(
    model: BertForSequenceClassification, residual: ResidualFactory, residuals: str = "both"
) -> BertForSequenceClassification:
    """Use `residual` in the final layer of a stock BERT, fresh or pretrained; modifies the model in place.

    Args:
        residual: called once per connection, in execution order, to create its module. D is the last axis.
        residuals: "both", or only the one around the "attention" or the "ffn".

    Raises:
        ValueError: `residuals` is unknown, or collision_heads does not divide D.
    """
    check_choice("residuals", residuals, RESIDUALS)
    layer: Any = model.bert.encoder.layer[-1]
    ends = {"attention": (layer.attention.output, SeamSelfOutput), "ffn": (layer.output, SeamOutput)}
    for around, (end, seam) in ends.items():
        if residuals in ("both", around):
            end.__class__ = seam  # keeps weights, hooks and flags; only forward changes
            end.residual = attach(residual(), 3, {2: end.dense.out_features}).train(end.training)
    return model


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
        residuals, residual: see `open_seam`.
        config: changes to `transformers.BertConfig`, such as `hidden_dropout_prob` or `num_hidden_layers`.

    Raises:
        ValueError: `name` or `residuals` is unknown.
    """
    check_choice("name", name, tuple(NAMES))
    bert = BertConfig(**NAMES[name] | {"num_labels": num_labels} | config)
    return open_seam(BertForSequenceClassification(bert), residual, residuals)
