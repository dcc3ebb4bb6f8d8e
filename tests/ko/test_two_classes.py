"""What theory says of collisions in the head of a classifier of texts (A27), on transformers' own heads.

With two classes the rows of the classifier's gradient are opposite. A soft collision then only rescales the gradient,
to which AdamW is blind, and a hard one replaces it by noise of its length. Neither holds for DistilBERT's
pre_classifier, nor for three classes.
"""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
from transformers import PreTrainedModel

from kiti.ko import KO, hard_collision, select, soft_collision
from kiti.models.text_classifier import build_text_classifier

WIDTH = 768  # BERT-base's: the head's initial weights are then at the distance of reading A27
SIZES = {"vocab_size": 40, "width": WIDTH, "layers": 1, "heads": 2, "ffn": 16, "positions": 16}
TOKENS = torch.randint(5, 40, (8, 12), generator=torch.Generator().manual_seed(0))


def learner(family: str, classes: int = 2) -> PreTrainedModel:
    torch.manual_seed(0)
    return build_text_classifier(family, classes, **SIZES).double().eval()  # no dropout: one gradient for one network


def backward(model: PreTrainedModel) -> None:
    labels = torch.arange(8) % model.config.num_labels
    torch.nn.functional.cross_entropy(model(TOKENS).logits, labels).backward()


def head(family: str, layer: str = "classifier", classes: int = 2) -> tuple[Tensor, Tensor]:
    """Weights of a layer and their gradient."""
    model = learner(family, classes)
    backward(model)
    weight = model.get_submodule(layer).weight
    return weight.detach(), weight.grad


@pytest.mark.parametrize("family", ["bert", "distilbert"])
@pytest.mark.parametrize("coll_coef", [0.001, 0.3, 0.9])
def test_soft_only_rescales_the_gradient_of_a_two_class_head(family: str, coll_coef: float) -> None:
    weight, grad = head(family)
    torch.testing.assert_close(grad[1], -grad[0])
    factor = 1 - coll_coef * (1 + cosine_similarity(weight[0], weight[1], dim=0))
    torch.testing.assert_close(soft_collision(weight, grad, coll_coef), factor * grad)


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_hard_replaces_the_gradient_of_a_two_class_head_by_noise_of_its_length(family: str) -> None:
    weight, grad = head(family)
    threshold = 1 - float(torch.exp(-(weight[0] - weight[1]).norm()))
    assert threshold == pytest.approx(0.543, abs=0.03)  # at transformers' initialisation
    assert torch.equal(hard_collision(weight, grad, threshold - 1e-6), grad)
    for seed in range(4):
        draw = torch.Generator().manual_seed(seed)
        collided = hard_collision(weight, grad, threshold + 1e-6, generator=draw)
        torch.testing.assert_close(collided.norm(dim=1), grad.norm(dim=1))
        torch.testing.assert_close(collided[1], -collided[0])
        # The cosine of two independent directions has standard deviation 1/sqrt(768) = .036.
        assert abs(float(cosine_similarity(collided[0], grad[0], dim=0))) < 0.2


def fraction(vector: Tensor, along: Tensor) -> float:
    """The share of the vector's length that is not along the other."""
    vector, along = vector.flatten(), along.flatten()
    return float((vector - (vector @ along) / (along @ along) * along).norm() / vector.norm())


def test_neither_holds_for_the_pre_classifier() -> None:
    weight, grad = head("distilbert", "pre_classifier")
    soft = soft_collision(weight, grad, 0.5 / WIDTH) - grad
    assert fraction(soft, grad) > 0.1
    hard = hard_collision(weight, grad, 0.7, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(hard, grad)
    assert not torch.allclose(hard.norm(dim=1), grad.norm(dim=1), rtol=0.01)


def test_soft_does_more_than_rescale_with_three_classes() -> None:
    weight, grad = head("bert", classes=3)
    assert fraction(soft_collision(weight, grad, 0.3) - grad, grad) > 0.01


def moved(layer: str, mode: str | None, coll_coef: float = 0.0) -> Tensor:
    """What ten steps of AdamW change in a layer's weights."""
    model = learner("distilbert")
    before = model.get_submodule(layer).weight.detach().clone()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, eps=1e-20)
    if mode is not None:
        KO(optimizer, select(model, [f"{layer}.weight"]), mode, coll_coef)
    for _ in range(10):
        optimizer.zero_grad()
        backward(model)
        optimizer.step()
    return model.get_submodule(layer).weight.detach() - before


def test_adamw_is_blind_to_soft_collisions_of_a_two_class_head_and_not_to_hard_ones() -> None:
    plain = moved("classifier", None)
    soft, hard = ((moved("classifier", *how) - plain).norm() / plain.norm() for how in (("soft", 0.3), ("hard", 0.7)))
    assert float(soft) < 0.01
    assert float(hard) > 0.5


def test_adamw_sees_soft_collisions_of_the_pre_classifier() -> None:
    plain = moved("pre_classifier", None)
    assert float((moved("pre_classifier", "soft", 1 / WIDTH) - plain).norm() / plain.norm()) > 0.02
