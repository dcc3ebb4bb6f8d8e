"""The benchmark of texts trains the same batches in both loops and counts their padding."""

from argparse import Namespace

import torch
from script_cases import script

texts = script("benchmark_texts")


def test_a_record_has_both_loops() -> None:
    args = Namespace(quick=True, repeats=1, device=torch.device("cpu"), only="epoch", threads=1)
    record = texts.measure(args)
    [case] = record["cases"]
    assert [row["loop"] for row in case["loops"]] == ["kiti", "Trainer"]
    kiti, trainer = case["loops"]
    assert 0 < kiti["padding"] < trainer["padding"] < 1
    assert case["faster"] == trainer["median_s"] / kiti["median_s"]
    assert "epoch" in str(texts.grid(record | {"device": "cpu"}).lines)


def test_texts_of_equal_length_have_no_padding() -> None:
    args = Namespace(batch=4, steps=3, shorter=4)
    lengths = texts.lengths_of("steps", args)
    data = texts.RandomTexts(lengths, args.batch)
    assert texts.padded_by_chance(data, args) == int(lengths.sum())
    items = texts.Items(data._ready.splits["train"])
    assert len(items) == 12
    assert len(items[0]["input_ids"]) == int(lengths[0])


def test_marks() -> None:
    cases = [{"case": "steps", "faster": 0.97}, {"case": "epoch", "faster": 1.5}]
    assert [mark.state for mark in texts.marks(cases)] == ["not reached", "reached"]
    assert texts.marks([])[0].state == "not measured"
