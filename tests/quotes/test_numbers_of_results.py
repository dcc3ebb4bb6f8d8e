"""README.md and docs/results.md: each result is that of a committed record; the other numbers are listed."""

from collections.abc import Callable

import pytest
import quotes_of_costs
import quotes_of_pdes
import quotes_of_pictures
from quoted_pages import missing, uncovered
from quotes_of_costs import benchmark
from quotes_of_pdes import PROBLEMS, row_of, sees

PAGE, README = "docs/results.md", "README.md"
PASSAGES = (*quotes_of_pdes.PASSAGES, *quotes_of_pictures.PASSAGES, *quotes_of_costs.PASSAGES)
DESIGN = [
    "with its 95 % interval",
    "4,096 pictures, 384 steps",
    "a hundred classes",
    "10 classes at 32 x 32",
    "4,096 pictures, 5 epochs and narrowed networks, 5 paired seeds",
    "trained for 500 steps instead of 50,000",
    "0.7 for hard",
    "Table 1",
    "without AVX2",
    "at viscosity .1",
    "their 130 runs",
    "one H200 with torch 2.11 and Triton 3.6, in six minutes instead of the eight that",
    "the marks of 100 and 20 times",
    "the target is 5 %",
    "All 65 tests of the kernels pass",
    "worse than vanilla from 0.6 on",
    "At 0.6 one particle of 32",
    "(relative L2;",
    "ResNet-34 to 152, best epoch",
    "has p below .05 against SGD",
    "none with p below .05",
    "the pixels of 2,000 training pictures",
    "Qwen2-0.5B's",
    "ResNet-18 to 50",
    "target is 0.98",
    "systems of 2 to 8 particles",
    "a step of 4 x 1,024 tokens",
    "at batch 32",
    "25 interleaved rounds",
]
IN_README = [
    "takes three to eight minutes (5 GB: PyTorch brings CUDA along), and the 20 runs of `m` take seven to twelve",
    "about 55 GB",
    "with its 95 % interval",
    "Lightning and FSDP2",
    "0 finished, 1 failed, 2 bad input, 3 diverged, 4 run by another process, 75 stopped",
    "a residual kind in 13 lines",
    "Algorithm 1 as functions",
]


def readme() -> list[str]:
    together = [one["times_as_fast"] for one in benchmark("replicas.cpu")]
    return [
        *map(row_of, PROBLEMS),
        f"could have seen differences of {sees()}",
        f"{min(together):.0f} to {max(together):.0f} times as many seeds a second",
    ]


@pytest.mark.parametrize("passages", PASSAGES)
def test_numbers_are_those_of_the_records(passages: Callable[[], list[str]]) -> None:
    assert missing(PAGE, passages()) == []


def test_every_number_of_the_results_is_covered() -> None:
    assert missing(PAGE, DESIGN) == []
    assert uncovered(PAGE, [*DESIGN, *(one for passages in PASSAGES for one in passages())]) == []


def test_the_readme_has_the_same_results() -> None:
    assert missing(README, [*readme(), *IN_README]) == []
    assert uncovered(README, [*readme(), *IN_README]) == []
