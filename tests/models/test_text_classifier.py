"""A classifier with the seam has transformers' weights and gradients exactly; only the seam collides."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
)

from kiti.models.text_classifier import build_text_classifier
from kiti.residual import Add, KITIResidual, Residual
from kiti.seams.opening import open_seam
from kiti.seams.watching import Directions

COLLIDING = partial(KITIResidual, 2, 0.9)
SMALL = {"width": 16, "layers": 3, "heads": 2, "ffn": 32, "vocab_size": 31, "positions": 16}
COMMON = {"vocab_size": 31, "max_position_embeddings": 16, "num_labels": 3}
STOCK = {
    "bert": {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32, **COMMON},
    "distilbert": {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 32, **COMMON},
}
FAMILIES = sorted(STOCK)
TOKENS = torch.randint(1, 31, (4, 12), generator=torch.Generator().manual_seed(1))
MASK = torch.arange(12) < torch.tensor([[12], [7], [9], [12]])
LABELS = torch.tensor([0, 1, 2, 1])
FINAL = {  # what returns v
    "bert": {
        "attention": "bert.encoder.layer.2.attention.output.dropout",
        "ffn": "bert.encoder.layer.2.output.dropout",
    },
    "distilbert": {
        "attention": "distilbert.transformer.layer.2.attention",
        "ffn": "distilbert.transformer.layer.2.ffn",
    },
}


def stock(family: str) -> PreTrainedModel:
    if family == "bert":
        return BertForSequenceClassification(BertConfig(**STOCK[family]))
    return DistilBertForSequenceClassification(DistilBertConfig(**STOCK[family]))


def small(family: str = "bert", **more: Any) -> PreTrainedModel:
    return build_text_classifier(family, 3, **SMALL, **more)


def step(model: PreTrainedModel, autocast: bool = False) -> dict[str, Tensor]:
    """Loss and gradients of one training step, dropout included."""
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = model.train()(TOKENS, attention_mask=MASK.long(), labels=LABELS).loss
    loss.backward()
    return {"loss": loss.detach(), **{name: p.grad for name, p in model.named_parameters()}}


def seams(model: PreTrainedModel) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, KITIResidual)]


@pytest.mark.parametrize(
    ("family", "sizes", "parameters"),
    [
        ("bert", {}, 109_483_778),
        ("bert", {"vocab_size": 28996}, 108_311_810),
        ("distilbert", {}, 66_955_010),
    ],
)
def test_base_sizes_are_the_published_ones(family: str, sizes: dict[str, int], parameters: int) -> None:
    with torch.device("meta"):
        model = build_text_classifier(family, **sizes, path="nowhere", residual=COLLIDING)
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("family", FAMILIES)
def test_model_and_initial_weights_match_transformers(family: str) -> None:
    torch.manual_seed(0)
    theirs = stock(family)
    torch.manual_seed(0)
    model = small(family, residual=COLLIDING)
    assert type(model) is type(theirs)
    assert model.config._attn_implementation == "sdpa"
    expected = theirs.state_dict()
    assert model.state_dict().keys() == expected.keys()
    assert all(torch.equal(model.state_dict()[name], value) for name, value in expected.items())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("residuals", ["both", "attention", "ffn"])
def test_weights_load_strictly_both_ways_with_equal_outputs(family: str, residuals: str) -> None:
    ours, theirs = small(family, residuals=residuals, residual=COLLIDING), stock(family)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    back = small(family, residuals=residuals, residual=COLLIDING)
    back.load_state_dict(theirs.state_dict(), strict=True)
    expected, *others = [model.eval()(TOKENS, attention_mask=MASK.long()).logits for model in (theirs, ours, back)]
    for logits in others:
        assert torch.equal(logits, expected)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "autocast"])
def test_with_addition_a_training_step_matches_transformers_bit_for_bit(family: str, precision: str) -> None:
    ours, theirs = small(family), stock(family)
    ours.load_state_dict(theirs.state_dict())
    results = []
    for model in (ours, theirs):
        if precision == "bfloat16":
            model.bfloat16()
        results.append(step(model, autocast=precision == "autocast"))
    actual, expected = results
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(actual[name], value), name


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("residuals", ["both", "attention", "ffn"])
def test_only_the_named_residuals_of_the_final_layer_collide(family: str, residuals: str, autocast: bool) -> None:
    model = small(family, residuals=residuals, residual=COLLIDING)
    final = FINAL[family]
    branches = [model.get_submodule(name).seam.branch for name in seams(model)]
    assert branches == (list(final.values()) if residuals == "both" else [final[residuals]])
    for name, value in step(model, autocast).items():
        assert value.isfinite().all(), name
    for name in seams(model):
        assert model.get_submodule(name).collisions.partners > 0, name


def test_the_seam_gets_what_stock_adds_before_the_layer_norm() -> None:
    model = small(residual=COLLIDING)
    layer = model.bert.encoder.layer[-1]
    for end, residual in ((layer.attention.output, layer.attention.residual), (layer.output, layer.residual)):
        seen: dict[str, tuple | Tensor] = {}
        end.register_forward_pre_hook(lambda _m, args, seen=seen: seen.update(shortcut=args[1]))
        end.dropout.register_forward_hook(lambda _m, _i, out, seen=seen: seen.update(branch=out), prepend=True)
        residual.register_forward_hook(lambda _m, xv, out, seen=seen: seen.update(xv=xv, joined=out))
        end.LayerNorm.register_forward_pre_hook(lambda _m, args, seen=seen: seen.update(normed=args[0]))
        step(model)
        x, v = seen["xv"]
        assert x is seen["shortcut"]
        assert v is seen["branch"]
        torch.testing.assert_close(seen["normed"], seen["joined"])


def test_tokens_interact_only_through_attention_in_training() -> None:
    """With all but the first token masked in attention, the logits do not depend on the others."""
    model = small(residual=COLLIDING, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0).train()
    only_first = (torch.arange(12) == 0).expand(4, 12).long()
    other = TOKENS.clone()
    other[:, 1:] = TOKENS[:, 1:] % 30 + 1
    logits = []
    for tokens in (TOKENS, other):
        Directions(model, seed=0)  # the same for both
        logits.append(model(tokens, attention_mask=only_first).logits)
        assert all(model.get_submodule(name).collisions.partners > 0 for name in seams(model))
    assert torch.equal(*logits)


def test_residuals_are_created_in_execution_order() -> None:
    made: list[Residual] = []

    def factory() -> Residual:
        made.append(Add())
        return made[-1]

    layer = small(residual=factory).bert.encoder.layer[-1]
    assert [layer.attention.residual, layer.residual] == made


def test_opening_the_seam_keeps_the_mode_and_warns() -> None:
    model = stock("bert").eval()  # from_pretrained returns a model in eval mode
    with pytest.warns(UserWarning, match=r"eval mode.* call model.train\(\)"):
        open_seam(model, residual=COLLIDING)
    assert not any(module.training for module in model.modules())
    open_seam(model, residual=Add)  # and it can be opened again
    assert seams(model) == []


def test_an_invalid_choice_is_named() -> None:
    with pytest.raises(ValueError, match="residuals='first': one of 'both', 'attention', 'ffn' is needed"):
        small(residuals="first")
    with pytest.raises(ValueError, match="family='gpt2': one of 'bert', 'distilbert' is needed"):
        small("gpt2")
