"""Questions with their answers, as they lie on disk and on the hub."""

import math
from pathlib import Path

import evaluation_cases
import hub_items
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kiti.data import DataError
from kiti.evaluation.answer_scores import score_answers, split_answer
from kiti.evaluation.answer_tasks import load, right_option
from kiti.evaluation.task_data import Sources

MATHQA = {
    "Problem": "the sum ?",
    "Rationale": "add them",
    "options": "a ) rs . 1 , 000 , b ) 27.675 , c ) none of these",
    "correct": "b",
}


def test_the_stand_in_is_a_question_and_its_full_solution(tmp_path: Path) -> None:
    problems = evaluation_cases.problems(4)
    evaluation_cases.write_lines(tmp_path / "problems" / "sums.jsonl", problems)
    task = load("stand_in_perplexity_sums", Sources(tmp_path), None)
    assert [item.prompt for item in task.items] == [f"Question: {one['question']}\nAnswer:" for one in problems]
    assert [item.answer for item in task.items] == [f" {one['solution']}" for one in problems]
    tokenizer = evaluation_cases.tokenizer()
    for item in task.items:
        context, answer = split_answer(tokenizer, item.prompt, item.answer)
        assert tokenizer.decode(context) == item.prompt
        assert tokenizer.decode(answer) == item.answer


def test_a_uniform_model_has_the_size_of_its_vocabulary_as_perplexity(tmp_path: Path) -> None:
    evaluation_cases.write_data(tmp_path)
    model, tokenizer = evaluation_cases.model(), evaluation_cases.tokenizer()
    model.transformer.ln_f.weight.data.zero_()
    items = load("stand_in_perplexity_sums", Sources(tmp_path), 5).items
    scores = score_answers(model, [split_answer(tokenizer, one.prompt, one.answer) for one in items], 2, 64)
    assert len(scores) == 5
    for score in scores:
        assert score.nll / score.tokens == pytest.approx(math.log(330), rel=1e-6)


def test_mathqa_has_two_readings(tmp_path: Path) -> None:
    path = evaluation_cases.write_lines(tmp_path / "mathqa.jsonl", [MATHQA])
    for task, answer in (("perplexity_mathqa_option", " 27.675"), ("perplexity_mathqa_rationale", " add them")):
        [item] = load(task, Sources(tmp_path, paths={task: path}), None).items
        assert item.answer == answer
    assert right_option(MATHQA["options"], "a") == "rs . 1 , 000"
    assert right_option(MATHQA["options"], "c") == "none of these"
    assert right_option(MATHQA["options"], "d") is None


def test_sets_of_the_hub_are_read_from_a_copy_or_a_file(tmp_path: Path) -> None:
    rows = [{"question": f"q{at}", "answer": f"{at} + 1\n#### {at + 1}"} for at in range(3)]
    copy = hub_items.write_set(tmp_path / "gsm8k", {"main": {"train": rows, "test": rows[:2]}})
    task = load("perplexity_gsm8k", Sources(tmp_path, paths={"perplexity_gsm8k": copy}), None)
    assert [item.answer for item in task.items] == [" 0 + 1\n#### 1", " 1 + 1\n#### 2"]
    assert task.located.identity.keys() == {"folder", "sha256"}
    pq.write_table(pa.Table.from_pylist([{"problem": "p", "solution": "s"}]), tmp_path / "ocw.parquet")
    [item] = load("perplexity_ocw", Sources(tmp_path, paths={"perplexity_ocw": tmp_path / "ocw.parquet"}), None).items
    assert item.answer == " s"


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"perplexity_ocw: no set on the hub is known; give --data"):
        load("perplexity_ocw", Sources(tmp_path), None)
    with pytest.raises(DataError, match=r"give --revision openai/gsm8k=<40 digits of a commit>"):
        load("perplexity_gsm8k", Sources(tmp_path), None)
    for row, complaint in (
        ({"question": "a"}, "row 1 has no solution"),
        ({"question": "a", "solution": 3}, "row 1: question and solution must be texts"),
        ({"question": "a", "solution": " "}, "row 1: the question or the answer is empty"),
    ):
        evaluation_cases.write_lines(tmp_path / "problems" / "sums.jsonl", [row])
        with pytest.raises(DataError, match=complaint):
            load("stand_in_perplexity_sums", Sources(tmp_path), None)
    path = evaluation_cases.write_lines(tmp_path / "mathqa.jsonl", [{**MATHQA, "correct": "e"}])
    with pytest.raises(DataError, match="row 1: option 'e' is not among"):
        load("perplexity_mathqa_option", Sources(tmp_path, paths={"perplexity_mathqa_option": path}), None)
