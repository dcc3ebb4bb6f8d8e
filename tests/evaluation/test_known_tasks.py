"""Names of tasks, before anything is loaded."""

from pathlib import Path

import pytest

from kiti.data import DataError
from kiti.evaluation import known_tasks
from kiti.evaluation.known_tasks import folders_of, repository, require_known, stand_in_file, taken

PAPERS = ["mmlu", "arc_challenge", "arc_easy", "hellaswag", "winogrande", "piqa", "openbookqa"]


def test_the_papers_tasks_are_lm_evals(tmp_path: Path) -> None:
    require_known([*PAPERS, "perplexity_gsm8k", "perplexity_math", "stand_in_mmlu"], tmp_path)
    for folder in folders_of(PAPERS):
        assert list(folder.glob("*.yaml")), folder


def test_the_papers_sets_on_the_hub_are_those_of_lm_eval() -> None:
    found = [repository(task) for task in ("mmlu", "arc_challenge", "winogrande", "perplexity_gsm8k")]
    assert found == ["cais/mmlu", "allenai/ai2_arc", "allenai/winogrande", "openai/gsm8k"]
    assert all(repository(task) for task in PAPERS)
    assert repository("stand_in_mmlu") is None


def test_any_other_task_of_lm_eval_is_known_too(tmp_path: Path) -> None:
    require_known(["sciq"], tmp_path)
    assert [folder.name for folder in folders_of(["sciq"])] == ["sciq"]


def test_an_unknown_name_names_near_ones(tmp_path: Path) -> None:
    for wrong, near in (
        ("hellaswg", "hellaswag"),
        ("stand_in_mlu", "stand_in_mmlu"),
        ("perplexity_gsm", "perplexity_gsm8k"),
    ):
        with pytest.raises(DataError, match=f"no task '{wrong}'; close: .*{near}"):
            require_known(["mmlu", wrong], tmp_path)


def test_no_task_and_a_task_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no task given; there are .*hellaswag"):
        require_known([], tmp_path)
    with pytest.raises(DataError, match="one is given twice"):
        require_known(["mmlu", "mmlu"], tmp_path)


def test_problems_on_disk_are_tasks(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="stand_in_perplexity_sums"):
        require_known(["stand_in_perplexity_sums"], tmp_path)
    (tmp_path / "problems").mkdir()
    (tmp_path / "problems" / "sums.jsonl").touch()
    require_known(["stand_in_perplexity_sums"], tmp_path)
    assert stand_in_file("stand_in_perplexity_sums", tmp_path) == tmp_path / "problems" / "sums.jsonl"
    assert stand_in_file("stand_in_piqa", tmp_path) == tmp_path / "items" / "piqa.jsonl"
    assert stand_in_file("piqa", tmp_path) is None


def test_tables_take_acc_norm_for_three_tasks() -> None:
    assert [task for task in PAPERS if taken(task)[0] == "acc_norm"] == ["arc_challenge", "hellaswag", "openbookqa"]
    assert "printed errors acc" in taken("arc_challenge")[1]


def test_without_lm_eval_a_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_tasks, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install 'kiti\[evaluation\]'"):
        require_known(["mmlu"], tmp_path)
