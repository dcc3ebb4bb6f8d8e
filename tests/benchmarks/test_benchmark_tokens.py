"""The benchmark of tokens prepares the same ids in both ways."""

import json
from pathlib import Path

import pytest
from language_cases import texts, tokenizer_folder, write_jsonl
from script_cases import script

tokens = script("benchmark_tokens")


@pytest.mark.slow
def test_a_record_has_both_ways(tmp_path: Path) -> None:
    json_path, table = tmp_path / "record.json", tmp_path / "table.md"
    corpus = write_jsonl(tmp_path / "corpus.jsonl", [*texts(50), " "])
    options = ["--quick", "--repeats", "1", "--processes", "2", "--texts", str(corpus)]
    options += ["--tokenizer", tokenizer_folder(tmp_path / "tokenizer")]
    tokens.main([*options, "--json", str(json_path), "--markdown", str(table)])
    record = json.loads(json_path.read_text())
    assert [case["case"] for case in record["cases"]] == ["nanoGPT's way", "nanoGPT's way, batched"]
    assert {case["tokens"] for case in record["cases"]} == {record["cases"][0]["tokens"]}
    assert record["settings"]["documents"] == 50
    kiti, other = record["cases"][0]["ways"]
    assert (kiti["way"], other["way"]) == ("kiti", "nanoGPT's way")
    assert record["cases"][0]["faster"] == other["median_s"] / kiti["median_s"]
    assert table.read_text().count("| kiti ") == 2


def test_marks() -> None:
    assert [mark.state for mark in tokens.marks([{"case": "nanoGPT's way", "faster": 0.9}])] == ["not reached"]
    assert [mark.state for mark in tokens.marks([{"case": "nanoGPT's way", "faster": 1.1}])] == ["reached"]
    assert tokens.marks([])[0].state == "not measured"


def test_what_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tokens.main(["--texts", "/nowhere"])
    assert capsys.readouterr().err.splitlines()[-1].endswith("argument --texts: '/nowhere': no such file or folder")
