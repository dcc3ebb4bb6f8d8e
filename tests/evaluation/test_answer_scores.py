"""Perplexity of answers, against a model whose probabilities are known in closed form."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from kiti.evaluation.answer_scores import AnswerScore, perplexities, score_answers, split_answer
from kiti.evaluation.windows import is_cut, windows


class Bigrams(nn.Module):
    """p(b | a) is a row of a table of probabilities, so −ln p of a text is a sum that can be written down."""

    def __init__(self, table: list[list[float]]) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.tensor(table, dtype=torch.float64).log().float())
        self.widest = 0

    def forward(self, texts: Tensor) -> SimpleNamespace:
        self.widest = max(self.widest, texts.shape[1])
        return SimpleNamespace(logits=self.table[texts] + 3.0)  # a constant does not change probabilities


TABLE = [[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.05, 0.9, 0.05]]
ANSWERS = [([0], [1, 2, 1]), ([2, 2, 0], [0]), ([1], [1, 1, 1, 1, 1, 1]), ([0, 1], [2, 0])]
NLL = [
    -math.log(0.25 * 0.7 * 0.9),
    -math.log(0.5),
    -6 * math.log(0.2),
    -math.log(0.7 * 0.05),
]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 16])
def test_bigrams_have_the_perplexity_of_their_formula(batch_size: int) -> None:
    scores = score_answers(Bigrams(TABLE), ANSWERS, batch_size, longest=16)
    assert [score.nll for score in scores] == pytest.approx(NLL, rel=1e-6)
    assert [score.tokens for score in scores] == [3, 1, 6, 2]
    assert not any(score.cut for score in scores)
    found = perplexities(scores)
    assert found.of_tokens == pytest.approx((0.25 * 0.7 * 0.9 * 0.5 * 0.2**6 * 0.7 * 0.05) ** (-1 / 12), rel=1e-6)
    each = [(0.25 * 0.7 * 0.9) ** (-1 / 3), 2.0, 5.0, (0.7 * 0.05) ** -0.5]
    assert found.mean_of_items == pytest.approx(sum(each) / 4, rel=1e-6)
    assert found.mean_of_items_error == pytest.approx(torch.tensor(each).std().item() / 2, rel=1e-5)


def test_bigrams_score_the_same_in_a_context_that_is_too_short() -> None:
    model = Bigrams(TABLE)
    scores = score_answers(model, ANSWERS, batch_size=2, longest=2)
    assert model.widest == 2
    assert [score.nll for score in scores] == pytest.approx(NLL, rel=1e-6)
    assert [score.cut for score in scores] == [True, True, True, True]


def test_a_perplexity_beyond_the_largest_number_is_infinite() -> None:
    found = perplexities([AnswerScore(2000.0, 1, False), AnswerScore(1.0, 1, False)])
    assert found.of_tokens == math.inf
    assert found.mean_of_items == math.inf


@pytest.mark.parametrize("longest", [2, 3, 4, 7, 8, 30])
@pytest.mark.parametrize("lengths", [(1, 1), (5, 2), (1, 9), (9, 9), (3, 1)])
def test_windows_predict_every_token_once_from_the_tokens_before_it(lengths: tuple[int, int], longest: int) -> None:
    context, answer = list(range(lengths[0])), list(range(100, 100 + lengths[1]))
    pieces = windows(context, answer, longest)
    assert [token for _, piece in pieces for token in piece] == answer
    done = list(context)
    for before, piece in pieces:
        assert before
        assert len(before) + len(piece) <= longest + 1
        assert before == done[-len(before) :]
        done += piece
    whole = len(pieces) == 1 and pieces[0] == (context, answer)
    assert whole == (not is_cut(context, answer, longest))


def test_padding_and_batches_do_not_matter_to_a_transformer() -> None:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=24, n_embd=16, n_layer=2, n_head=2)).eval()
    draw = torch.Generator().manual_seed(1)
    lengths = [(1, 1), (9, 4), (2, 12), (3, 3), (5, 1), (20, 4), (30, 30)]
    answers = [tuple(torch.randint(50, (size,), generator=draw).tolist() for size in both) for both in lengths]
    alone = score_answers(model, answers, batch_size=1, longest=24)  # type: ignore[arg-type]
    together = score_answers(model, answers, batch_size=16, longest=24)  # type: ignore[arg-type]
    assert [score.nll for score in together] == pytest.approx([score.nll for score in alone], rel=1e-5)
    context, answer = answers[1]
    whole = torch.tensor([context + answer])
    expected = (
        -model(whole[:, :-1]).logits.log_softmax(-1)[0, len(context) - 1 :].gather(1, whole[0, len(context) :, None])
    )
    assert alone[1].nll == pytest.approx(expected.sum().item(), rel=1e-5)
    assert [score.cut for score in alone] == [False] * 6 + [True]


class Letters:
    """A tokenizer of letters, in which "ab" is one token, and with a beginning token if `begin`."""

    def __init__(self, begin: bool = False) -> None:
        self.begin = begin

    def __call__(self, text: str) -> dict[str, list[int]]:
        merged = text.replace("ab", "\1")
        return {"input_ids": [0] * self.begin + [ord(letter) for letter in merged]}


def test_the_answer_begins_at_the_first_token_that_the_prompt_alone_does_not_have() -> None:
    assert split_answer(Letters(), "xy", " zz") == ([120, 121], [32, 122, 122])
    assert split_answer(Letters(begin=True), "x", "y") == ([0, 120], [121])


def test_a_token_across_the_boundary_counts_for_the_answer() -> None:
    assert split_answer(Letters(), "xa", "by") == ([120], [1, 121])


def test_no_prompt_or_no_answer_is_refused() -> None:
    for prompt, answer in (("", "x"), ("x", ""), ("a", "b")):
        with pytest.raises(ValueError, match="nothing to predict"):
            split_answer(Letters(), prompt, answer)
