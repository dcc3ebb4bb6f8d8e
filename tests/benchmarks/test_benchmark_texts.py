"""The benchmark of texts trains the same batches in both loops and counts their padding."""

import json
from argparse import Namespace
from pathlib import Path

from script_cases import script

texts = script("benchmark_texts")


def test_a_record_has_both_loops(tmp_path: Path) -> None:
    json_path, table = tmp_path / "record.json", tmp_path / "table.md"
    options = ["--quick", "--repeats", "1", "--only", "epoch"]
    texts.main([*options, "--json", str(json_path), "--markdown", str(table)])
    [case] = json.loads(json_path.read_text())["cases"]
    assert [row["loop"] for row in case["loops"]] == ["kiti", "Trainer"]
    kiti, trainer = case["loops"]
    assert 0 < kiti["padding"] < trainer["padding"] < 1
    assert case["faster"] == trainer["median_s"] / kiti["median_s"]
    assert table.read_text().count("| epoch ") == 2


def test_texts_of_equal_length_have_no_padding() -> None:
    args = Namespace(batch=4, steps=3, shorter=4)
    lengths = texts.lengths_of("steps", args)
    data = texts.RandomTexts(lengths, args.batch)
    assert texts.padded_by_chance(data, args) == int(lengths.sum())
    items = texts.Items(data.training)
    assert len(items) == 12
    assert len(items[0]["input_ids"]) == int(lengths[0])


def test_marks() -> None:
    cases = [{"case": "steps", "faster": 0.97}, {"case": "epoch", "faster": 1.5}]
    assert [mark.state for mark in texts.marks(cases)] == ["not reached", "reached"]
    assert texts.marks([])[0].state == "not measured"
