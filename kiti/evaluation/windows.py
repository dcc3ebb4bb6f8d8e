"""A text longer than a model's context: every token of the answer is scored once, each piece in a window."""

from collections.abc import Sequence

Window = tuple[list[int], list[int]]
"""Context, and the tokens that are predicted from it."""


def windows(context: Sequence[int], answer: Sequence[int], longest: int) -> list[Window]:
    """Windows of at most `longest` input tokens whose answers, joined, are `answer`.

    The last token of a window is predicted, not read, so a window has up to longest + 1 tokens. Where one window holds
    the answer there is one, and tokens are cut off at the beginning of the context, as lm-eval does. A longer answer is
    divided into pieces of longest // 2 tokens, each predicted from the tokens before it that still fit.

    Args:
        context: tokens before the answer, at least one.
        longest: the model's context in tokens, at least 2.
    """
    step = len(answer) if len(answer) <= longest else longest // 2
    whole, first = [*context, *answer], len(context)
    starts = range(first, len(whole), step)
    ends = [min(start + step, len(whole)) for start in starts]
    return [
        (whole[max(0, end - longest - 1) : start], whole[start:end]) for start, end in zip(starts, ends, strict=True)
    ]


def is_cut(context: Sequence[int], answer: Sequence[int], longest: int) -> bool:
    """Whether some token of the answer is predicted from fewer tokens than are before it."""
    return len(context) + len(answer) > longest + 1
