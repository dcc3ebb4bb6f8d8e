"""kiti-eval on language models: a folder of Hugging Face or a run, tasks, comparisons, and what is refused."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import evaluation_cases
import pytest
import tiny_language

from kiti.cli import evaluate_command
from kiti.cli.train_command import train
from kiti.configuration.compose import compose
from kiti.evaluation.kept_results import latest
from kiti.storage import records
from kiti.units import plugins

TASKS = "stand_in_mmlu,stand_in_piqa,stand_in_perplexity_sums"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """data/, two models a/ and b/, and a plug-in with its tokenizer."""
    place = tmp_path_factory.mktemp("language")
    evaluation_cases.write_data(place / "data")
    for seed, name in enumerate("ab"):
        evaluation_cases.write_folder(place / name, seed)
    evaluation_cases.tokenizer().save_pretrained(place / "tokenizer")
    path = tiny_language.write_conf(place / "plugin", place / "tokenizer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KITI_DATA_DIR", str(place / "data"))
        patch.setenv(plugins.VARIABLE, str(path))
        yield place


@pytest.fixture
def evaluate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def evaluated(*arguments: object) -> tuple[int, str, list[str]]:
        monkeypatch.setattr(sys, "argv", ["kiti-eval", *map(str, arguments)])
        capsys.readouterr()
        status = 0
        try:
            evaluate_command.main()
        except SystemExit as end:
            status = int(end.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err.splitlines()

    return evaluated


def test_two_folders_are_evaluated_and_compared(place: Path, tmp_path: Path, evaluate) -> None:
    for name in "ab":
        status, out, _ = evaluate(place / name, "--tasks", TASKS, "--limit", 8, "--out", tmp_path / name)
        assert status == 0
        assert "mean of 3 subjects" in out
        assert str(tmp_path / name / "evaluations.jsonl") in out
    [line] = [json.loads(line) for line in (tmp_path / "a" / "evaluations.jsonl").read_text().splitlines()]
    assert line["folder"] == str(place / "a")
    assert len(line["weights"]) == 64
    assert "lm-eval" in line["versions"]
    assert [task["n"] for task in line["tasks"]] == [8, 8, 8]
    assert not (place / "a" / "evaluations.jsonl").exists(), "nothing is written into the model's folder"
    status, out, _ = evaluate("--compare", tmp_path / "a", tmp_path / "b", "--tasks", "stand_in_piqa")
    assert status == 0
    assert "acc_norm, B − A" in out
    assert "stand_in_mmlu" not in out
    assert max(map(len, out.split("\n", 2)[2].splitlines())) <= 80


def test_a_run_is_evaluated_beside_its_record(place: Path, evaluate) -> None:
    composed = compose(["experiment=tiny_language", f"runs_dir={place}/runs", f"data_dir={place}/data"])
    train(composed)
    before = (composed.run_dir / records.FILE_NAME).read_bytes()
    status, out, _ = evaluate(composed.run_dir, "--tasks", "stand_in_piqa", "--batch-size", 3)
    assert status == 0, out
    record = latest(composed.run_dir)["stand_in_piqa"].record
    assert (record["context"], record["batch_size"], record["dtype"]) == (16, 3, "float32")
    assert (composed.run_dir / records.FILE_NAME).read_bytes() == before
    [line] = (composed.run_dir / "evaluations.jsonl").read_text().splitlines()
    assert json.loads(line)["config_hash"] == composed.hash


def test_what_is_refused_is_one_line(place: Path, tmp_path: Path, evaluate) -> None:
    bare = shutil.copytree(place / "a", tmp_path / "bare")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (bare / name).unlink()
    unknown = shutil.copytree(place / "a", tmp_path / "unknown")
    (unknown / "config.json").write_text('{"model_type": "nosuch"}')
    small = tmp_path / "small"
    evaluation_cases.model(vocab_size=300).save_pretrained(small)
    evaluation_cases.tokenizer().save_pretrained(small)
    (tmp_path / "empty").mkdir()
    out = ("--out", tmp_path / "out")
    for arguments, complaint in (
        ((place / "a", "--tasks", "stand_in_piqua", *out), "no task 'stand_in_piqua'; close: stand_in_piqa"),
        ((place / "a", "--tasks", "", *out), "no task given"),
        ((place / "a", "--tasks", "stand_in_piqa"), "give --out <folder for the results>"),
        ((tmp_path / "nosuch", "--tasks", "stand_in_piqa", *out), "no such folder"),
        ((tmp_path / "empty", "--tasks", "stand_in_piqa", *out), "neither a finished run (record.json) nor"),
        ((bare, "--tasks", "stand_in_piqa", *out), "no tokenizer: none of tokenizer.json"),
        ((unknown, "--tasks", "stand_in_piqa", *out), "transformers loads no causal language model"),
        ((small, "--tasks", "stand_in_piqa", *out), "but the model's embedding has 300 rows"),
        ((place / "a", "--tasks", "arc_easy", *out), "give --revision allenai/ai2_arc=<40 digits of a commit>"),
        ((place / "a", "--tasks", "arc_easy", "--revision", "main", *out), "give it as --revision <name>=<value>"),
        ((place / "a", "--tasks", "stand_in_piqa", "--data", "mmlu=x", *out), "--data mmlu=…: not among --tasks"),
        ((place / "a", "data.seed=1", "--tasks", "stand_in_piqa", *out), "is no run"),
        ((place / "a", "--limit", "3"), "--limit is of no use without --tasks or --compare"),
        (("--compare", tmp_path, tmp_path, "--limit", "3"), "--limit is of no use with --compare"),
        (("--compare", tmp_path, tmp_path), "No such file"),
    ):
        status, _, err = evaluate(*arguments)
        lines = [line for line in err if line.strip() and "Loading weights" not in line]
        assert status == 2, arguments
        assert len(lines) == 1, lines
        assert lines[0].startswith("kiti-eval: ")
        assert complaint in lines[0]
    assert not (tmp_path / "out").exists()


def test_a_wrong_command_line_ends_before_torch_and_without_a_hub(place: Path, tmp_path: Path) -> None:
    commit = "0" * 40
    hub = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hf")}
    program = (
        "import sys\n"
        "from kiti.cli.evaluate_command import main\n"
        "try:\n    main()\n"
        "finally:\n    print('torch' in sys.modules)\n"
    )
    base = [sys.executable, "-c", program, str(place / "a"), "--out", str(tmp_path / "out"), "--tasks"]
    wrong = subprocess.run([*base, "hellaswg"], capture_output=True, text=True, env=hub, timeout=300)
    assert wrong.returncode == 2
    assert wrong.stdout == "False\n"
    assert "close: hellaswag" in wrong.stderr
    given = ["arc_easy", "--revision", f"allenai/ai2_arc={commit}"]
    away = subprocess.run([*base, *given], capture_output=True, text=True, env=hub, timeout=300)
    assert (away.returncode, away.stdout) == (2, "False\n")
    assert len(away.stderr.splitlines()) == 1
    assert "http://127.0.0.1:9 cannot be reached" in away.stderr
    assert not (tmp_path / "out").exists()
