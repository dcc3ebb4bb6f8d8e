"""A model as lm-eval calls it, with answers longer than the context, and a count of what did not fit."""

import copy
import logging

from lm_eval.models.huggingface import HFLM
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from kiti.data import DataError
from kiti.evaluation.windows import is_cut, windows

Request = tuple[tuple[str, str], list[int], list[int]]
"""(context, answer), and the tokens of both."""


class HarnessModel(HFLM):
    """lm-eval's wrapper of a transformers model; log-probabilities are float32 whatever the weights are.

    lm-eval stops at an answer longer than the context; here it is scored in windows (`kiti.evaluation.windows`).

    Attributes:
        cut: (context, answer) of the requests that did not fit.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        batch_size: int,
        longest: int,
        progress: bool = False,
    ) -> None:
        self.progress = progress
        self.cut: set[tuple[str, str]] = set()
        super().__init__(
            pretrained=model,
            tokenizer=copy.deepcopy(tokenizer),  # lm-eval gives it a padding token
            batch_size=batch_size,
            max_length=longest,
            softmax_dtype="float32",
        )

    def _loglikelihood_tokens(
        self, requests: list[Request], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        pieces: list[Request] = []
        of: list[range] = []
        for both, context, answer in requests:
            if not answer:
                raise DataError(f"the answer {both[1]!r} has no token of its own after {both[0][-40:]!r}")
            if is_cut(context, answer, self.max_length):
                self.cut.add(both)
            cut = windows(context, answer, self.max_length)
            of.append(range(len(pieces), len(pieces) + len(cut)))
            pieces += [(both, *one) for one in cut]
        scores = self._scored(pieces, override_bs)
        return [(sum(scores[at][0] for at in own), all(scores[at][1] for at in own)) for own in of]

    def _scored(self, pieces: list[Request], override_bs: int | None) -> dict[int, tuple[float, bool]]:
        """By place in `pieces`.

        lm-eval reads answers of equal input off one pass of the model. That is for letters, answers of one token: of
        longer ones it takes wrong logits if they differ in length (0.4.13), so these get a pass each.
        """
        scores: dict[int, tuple[float, bool]] = {}
        for single in (True, False):
            places = [at for at, (_, _, answer) in enumerate(pieces) if (len(answer) == 1) == single]
            self.logits_cache = single
            chosen = [pieces[at] for at in places]
            found = super()._loglikelihood_tokens(chosen, disable_tqdm=not self.progress, override_bs=override_bs)
            scores |= zip(places, found, strict=True)
        return scores


def quiet() -> None:
    """No notes about every task and request."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
