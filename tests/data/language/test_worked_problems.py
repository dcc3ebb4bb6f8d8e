"""Solutions are worked in full and end with the generator's answer; a small package takes reasoning-gym's place."""

import zipfile
from pathlib import Path

import pytest

from kiti.data.fetching.archives import FetchError
from kiti.data.language import worked_problems
from kiti.data.language.worked_problems import arithmetic, number_theory, word_problems

FACTORY = """
from fractions import Fraction
import reasoning_gym.coaching

def create_dataset(name, seed, size):
    assert seed == 0
    rows = {
        "chain_sum": ("State: 12 - 5 + 7 =", ANSWER, {"expression": "12 - 5 + 7"}),
        "gcd": ("Find", "6", {"numbers": [18, 48]}),
        "gsm_symbolic": (
            "How many? Give the result as your final answer. Do not include units.",
            "8",
            {"answer_cot": "Half of 16 is 8.0.\\n#### 8.0", "half": Fraction(1, 2)},
        ),
    }
    return [dict(zip(("question", "answer", "metadata"), rows[name]), other=set())] * size
"""


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(worked_problems, "NUMBER", 2)
    return write_wheel(tmp_path / "some.whl", answer="14")


def write_wheel(path: Path, answer: str) -> Path:
    with zipfile.ZipFile(path, "w") as files:
        for package in ("", "arithmetic/"):
            files.writestr(f"reasoning_gym/{package}__init__.py", "raise SystemExit('imports what is not installed')")
        files.writestr("reasoning_gym/coaching/__init__.py", "")
        files.writestr("reasoning_gym/factory.py", FACTORY.replace("ANSWER", repr(answer)))
        files.writestr("reasoning_gym/arithmetic/chain_sum.py", "")
        files.writestr("reasoning_gym/arithmetic/gcd.py", "")
        files.writestr("reasoning_gym/arithmetic/gsm_symbolic/__init__.py", "from . import gsm_symbolic")
        files.writestr("reasoning_gym/arithmetic/gsm_symbolic/gsm_symbolic.py", "")
    return path


def test_a_sum_is_solved_term_by_term(wheel: Path) -> None:
    row = {"question": "What is 12 - 5 + 7?", "solution": "12 - 5 = 7\n7 + 7 = 14\n#### 14"}
    assert arithmetic(wheel) == [row, row]


def test_a_divisor_is_found_by_euclids_algorithm(wheel: Path) -> None:
    question = "What is the greatest common divisor of 18 and 48?"
    steps = "48 = 2 * 18 + 12\n18 = 1 * 12 + 6\n12 = 2 * 6 + 0\nThe rest is 0, so it is 6.\n#### 6"
    assert number_theory(wheel)[0] == {"question": question, "solution": steps}


def test_a_word_problem_has_its_own_solution(wheel: Path) -> None:
    assert word_problems(wheel)[0] == {"question": "How many?", "solution": "Half of 16 is 8.0.\n#### 8"}


def test_a_wrong_answer_is_refused(wheel: Path) -> None:
    other = write_wheel(wheel.with_name("other.whl"), answer="4")  # which 14 ends with
    with pytest.raises(FetchError, match=r"solution of 'What is 12 - 5 \+ 7\?' does not end with its answer 4"):
        arithmetic(other)


def test_a_package_that_fails_is_one_line(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "empty.whl", "w"):
        pass
    with pytest.raises(FetchError, match=r"reasoning-gym could not generate gcd: ModuleNotFoundError: .*reasoning_gym"):
        number_theory(tmp_path / "empty.whl")
