"""Perplexity of correct answers: how well a causal language model predicts the answer after the question.

    tokens  exp( Σ_i nll_i / Σ_i n_i )        over all answer tokens
    items   1/N Σ_i exp( nll_i / n_i )        the mean of the items' own perplexities

with nll_i the sum of −ln p over the n_i tokens of item i's answer. The first is the reading for KITINet's Table 2 (spec
1.2); the two differ, so both are named by what they are a mean over.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor, nn
from torch.nn import functional

from kiti.evaluation.windows import Window, is_cut, windows


@dataclass(frozen=True)
class AnswerScore:
    """−ln p of one answer in nats, its number of tokens, and whether the context was too short for all before it."""

    nll: float
    tokens: int
    cut: bool


@dataclass(frozen=True)
class Perplexities:
    """See the module. `mean_of_items_error` is the standard error of the mean over items; nan if there is one item."""

    of_tokens: float
    mean_of_items: float
    mean_of_items_error: float


def perplexities(scores: Sequence[AnswerScore]) -> Perplexities:
    """The two means over `scores`, which must not be empty. Infinite where an item's own perplexity is."""
    each = [_exp(score.nll / score.tokens) for score in scores]
    mean, error = math.fsum(each) / len(each), math.nan
    if len(each) > 1 and math.isfinite(mean):
        error = math.sqrt(math.fsum((one - mean) ** 2 for one in each) / (len(each) - 1) / len(each))
    total = math.fsum(score.nll for score in scores) / sum(score.tokens for score in scores)
    return Perplexities(_exp(total), mean, error)


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def split_answer(tokenizer: Any, prompt: str, answer: str) -> Window:
    """Tokens of the prompt, and those of the answer as they follow it in the tokens of the whole text.

    The whole is tokenised, since that is what the model sees. The answer begins at the first token that differs from
    the tokens of the prompt alone, so a token across the boundary counts for the answer: no part of it is left out.
    What the tokenizer itself puts first, such as a beginning-of-text token, is part of the prompt.

    Raises:
        ValueError: the prompt has no token before the answer, or the answer none.
    """
    alone, whole = tokenizer(prompt)["input_ids"], tokenizer(prompt + answer)["input_ids"]
    same = next((at for at, (one, other) in enumerate(zip(alone, whole, strict=False)) if one != other), len(alone))
    same = min(same, len(whole))
    if not same or same == len(whole):
        raise ValueError(f"nothing to predict: {same} tokens of the prompt {prompt[-40:]!r} and {len(whole)} in all")
    return whole[:same], whole[same:]


def score_answers(model: nn.Module, answers: Sequence[Window], batch_size: int, longest: int) -> list[AnswerScore]:
    """−ln p of each answer, in the order given, without gradients.

    Log-probabilities are computed in float32 from the model's logits, and added up in float64. Texts are padded on the
    right, where a causal model does not see the padding, so neither the batch size nor the other texts of a batch
    matter, up to rounding.

    Args:
        model: token ids (B, T) -> an output with `logits` (B, T, vocabulary); in eval mode.
        answers: tokens of the prompt, and of its answer.
        batch_size: texts at a time.
        longest: the model's context in tokens.
    """
    pieces = [(at, one) for at, (context, answer) in enumerate(answers) for one in windows(context, answer, longest)]
    pieces.sort(key=lambda piece: -len(piece[1][0]) - len(piece[1][1]))
    nll: list[list[float]] = [[] for _ in answers]
    for first in range(0, len(pieces), batch_size):
        batch = pieces[first : first + batch_size]
        for (at, _), value in zip(batch, _nll(model, [one for _, one in batch]).tolist(), strict=True):
            nll[at].append(value)
    return [
        AnswerScore(math.fsum(values), len(answer), is_cut(context, answer, longest))
        for values, (context, answer) in zip(nll, answers, strict=True)
    ]


@torch.no_grad()
def _nll(model: nn.Module, batch: Sequence[Window]) -> Float64[Tensor, "B"]:
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    width = max(len(context) + len(answer) for context, answer in batch)
    texts = torch.zeros(len(batch), width, dtype=torch.long)
    answered = torch.zeros(len(batch), width, dtype=torch.bool)
    for row, (context, answer) in enumerate(batch):
        texts[row, : len(context) + len(answer)] = torch.tensor(context + answer)
        answered[row, len(context) : len(context) + len(answer)] = True
    texts, answered = texts.to(device), answered.to(device)
    logits = model(texts[:, :-1]).logits  # (B, T - 1, vocabulary)
    chosen = logits[answered[:, 1:]].float()  # (answer tokens, vocabulary)
    losses = functional.cross_entropy(chosen, texts[:, 1:][answered[:, 1:]], reduction="none")
    of = answered[:, 1:].nonzero()[:, 0]
    # On the CPU: a GPU adds in no fixed order.
    return torch.zeros(len(batch), dtype=torch.float64).index_add(0, of.cpu(), losses.double().cpu())
