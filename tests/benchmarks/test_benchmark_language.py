"""The benchmark of language models trains the same sizes in all loops, and reads their times."""

import json
import stat
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from script_cases import script

from benchmarks import language_loops
from benchmarks.benchmarking import Unusable
from benchmarks.language_loops import Setup, Started
from benchmarks.measuring import Ratio
from kiti.data.language.language_tokenizer import read_tokenizer

language = script("benchmark_language")

TRAIN = """
import pathlib, pickle, sys
import numpy as np
from model import COUNTS
options = dict(argument[2:].split("=") for argument in sys.argv[1:])
data = pathlib.Path("data") / options["dataset"]
ids = np.memmap(data / "train.bin", dtype=np.uint16, mode="r")
vocabulary = pickle.loads((data / "meta.pkl").read_bytes())["vocab_size"]
assert len(ids) > int(options["block_size"]) and ids.max() < vocabulary
assert pathlib.Path("configurator.py").exists() and options["compile"] == "False"
print(f"num decayed parameter tensors: 9, with {COUNTS[0]:,} parameters")
print(f"num non-decayed parameter tensors: 9, with {COUNTS[1]:,} parameters")
print("step 0: train loss 6.2, val loss 6.2")
for i in range(int(options["max_iters"]) + 1):
    print(f"iter {i}: loss 6.2, time {1000 - i}.50ms, mfu -100.00%")
"""
WORKER = """
import json, os, sys
settings = json.load(open(sys.argv[2]))
assert sys.argv[1].endswith("litgpt_worker.py") and os.environ["OMP_NUM_THREADS"] == "1"
assert os.environ["TORCH_COMPILE_DISABLE"] == "1" and settings["optimizer"]["weight_decay"] == 0.1
ends = [float(i * i) for i in range(settings["steps"])]
json.dump({"version": "fake", "parameters": PARAMETERS, "ends": ends}, open(sys.argv[3], "w"))
"""


def fake_clone(folder: Path, counts: tuple[int, int]) -> Path:
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    (folder / "model.py").write_text(f"COUNTS = {counts}\n")
    (folder / "configurator.py").write_text("")
    return folder


def fake_python(path: Path, parameters: int, lines: str = WORKER) -> str:
    """In the place of an interpreter with litgpt."""
    path.write_text(f"#!{sys.executable}\n" + lines.replace("PARAMETERS", str(parameters)))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    (tmp_path / "case").mkdir()
    sizes = language.SIZES["gpt2", "quick"]
    return Setup("gpt2", sizes, 2, 16, 2, 5, torch.device("cpu"), 1, False, tmp_path / "case")


def one_line(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        language.main(arguments)
    assert ended.value.code == 2
    # Lightning's progress is there too, if kiti has trained before.
    [line] = [each for each in capsys.readouterr().err.splitlines() if each.startswith("benchmark_language")]
    return line


@pytest.mark.slow
def test_kiti_alone_compares_kiti_with_vanilla(tmp_path: Path) -> None:
    json_path, table = tmp_path / "record.json", tmp_path / "table.md"
    language.main(["--quick", "--repeats", "1", "--json", str(json_path), "--markdown", str(table)])
    record = json.loads(json_path.read_text())
    [case] = record["cases"]
    assert case["case"] == "GPT-2, KITI"
    collided, vanilla = case["loops"]
    assert (collided["loop"], vanilla["loop"]) == ("KITI", "vanilla")
    assert case["ratio"] == collided["median_s"] / vanilla["median_s"]
    assert (case["lowest"], case["parameters"]) == (None, 15040)
    assert [each["module"] for each in case["calibrated"]] == [f"transformer.h.{i}.residual" for i in range(2)]
    assert all(0.5 <= each["pairs"] <= 2 for each in case["calibrated"])
    assert [mark["state"] for mark in record["marks"]] == ["not measured"] * 3
    assert table.read_text().count("| GPT-2, KITI") == 2


@pytest.mark.slow
def test_the_other_loops_train_the_same_sizes(tmp_path: Path) -> None:
    json_path, table = tmp_path / "record.json", tmp_path / "table.md"
    options = ["--quick", "--repeats", "1", "--threads", "1", "--only", "nanoGPT|litgpt"]
    options += ["--nanogpt", str(fake_clone(tmp_path / "clone", (15000, 40)))]
    options += ["--litgpt", fake_python(tmp_path / "python", 12944)]
    language.main([*options, "--json", str(json_path), "--markdown", str(table)])
    record = json.loads(json_path.read_text())
    assert [case["against"] for case in record["cases"]] == ["litgpt", "nanoGPT"]
    for case in record["cases"]:
        other, kiti = case["loops"]
        assert (other["loop"], kiti["loop"]) == (case["against"], "kiti")
        assert case["ratio"] == other["median_s"] / kiti["median_s"]
    assert record["cases"][0]["loops"][0]["median_s"] == 5.0  # of 3, 5 and 7, the differences of squares
    assert "times as fast as nanoGPT" in table.read_text()


def test_the_times_of_nanogpt(setup: Setup, tmp_path: Path) -> None:
    started = language_loops.of_nanogpt(setup, fake_clone(tmp_path / "clone", (15000, 40)))
    assert started.seconds == pytest.approx([0.9985, 0.9975, 0.9965])
    assert started.parameters == 15040


def test_the_times_of_litgpt(setup: Setup, tmp_path: Path) -> None:
    started = language_loops.of_litgpt(setup, fake_python(tmp_path / "python", 7))
    assert started == Started([3.0, 5.0, 7.0], 7, "fake")


def test_a_missing_step_is_said(setup: Setup, tmp_path: Path) -> None:
    python = fake_python(tmp_path / "python", 7, WORKER.replace('settings["steps"]', "4"))
    with pytest.raises(Unusable, match="litgpt: 4 steps were timed, not 5"):
        language_loops.of_litgpt(setup, python)


def test_a_loop_that_fails_is_said_with_its_last_line(setup: Setup, tmp_path: Path) -> None:
    python = fake_python(tmp_path / "python", 7, "import no_such_package")
    with pytest.raises(Unusable, match="litgpt: it ended with status 1: ModuleNotFoundError: No module named"):
        language_loops.of_litgpt(setup, python)


def test_another_number_of_parameters_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clone = fake_clone(tmp_path / "clone", (15000, 41))
    line = one_line(["--quick", "--only", "nanoGPT", "--nanogpt", str(clone)], capsys)
    assert line == (
        "benchmark_language: nanoGPT: its model has 15,041 parameters and kiti's 15,040; "
        "times of different models are not compared"
    )


def test_what_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = one_line(["--quick", "--nanogpt", str(tmp_path / "none")], capsys)
    assert line.startswith(f"benchmark_language: --nanogpt {tmp_path / 'none'}: no train.py, model.py")
    line = one_line(["--quick", "--litgpt", str(tmp_path / "none")], capsys)
    assert line == f"benchmark_language: --litgpt {tmp_path / 'none'}: no such interpreter; give one with litgpt 0.5.13"


def test_every_word_of_the_corpus_has_an_id_of_its_own(tmp_path: Path) -> None:
    language_loops.random_corpus(tmp_path, 512, 4000)
    known = read_tokenizer(str(tmp_path / "tokenizer"), None, 512)
    assert (known.largest, known.end) == (511, 511)
    tokenizer = known.load()
    texts = [json.loads(line)["text"] for line in (tmp_path / "corpus.jsonl").read_text().splitlines()]
    assert len(texts) == language_loops.DOCUMENTS
    for text in texts[:20]:
        encoded = tokenizer.encode(text).ids
        assert len(encoded) == len(text.split())
        assert min(encoded) > 256


def test_the_models_for_a_gpu_have_124_million_parameters(setup: Setup) -> None:
    for family in language.NAMES:
        sizes = language.SIZES[family, "cuda"]
        config = language_loops.composed(replace(setup, family=family, sizes=sizes, context=1024))
        with torch.device("meta"):
            model = language_loops.building.model(config)
        assert language_loops.parameters_of(model) == pytest.approx(124.2e6, rel=0.005)


def test_rounds_end_when_the_interval_is_narrow() -> None:
    even = {"KITI": lambda: Started([1.0], 1, ""), "vanilla": lambda: Started([1.0], 1, "")}
    assert len(language.rounds_of(even, 9, 40, 1)["KITI"]) == 9
    times = iter([1.0, 2.0] * 40)
    uneven = {**even, "KITI": lambda: Started([next(times)], 1, "")}
    assert len(language.rounds_of(uneven, 9, 12, 1)["KITI"]) == 12
    assert not language.is_narrow(Ratio(1.0, float("nan"), float("nan")))
    assert language.is_narrow(Ratio(2.0, 1.95, 2.05))


def test_rounds_take_turns() -> None:
    called: list[str] = []

    def loop(name: str) -> Started:
        called.append(name)
        return Started([1.0], 1, "")

    language.rounds_of({name: lambda name=name: loop(name) for name in "ab"}, 3, 3, 1)
    assert "".join(called) == "abbaab"


def test_marks() -> None:
    large = {"parameters": 124_000_000}
    cases = [
        {"case": "Qwen2, litgpt", "against": "litgpt", "ratio": 1.0, **large},
        {"case": "Qwen2 compiled, litgpt", "against": "litgpt", "ratio": 0.9, **large},
        {"case": "GPT-2, nanoGPT", "against": "nanoGPT", "ratio": 0.99, **large},
        {"case": "GPT-2, KITI", "against": "vanilla", "ratio": 1.06, **large},
    ]
    assert [mark.state for mark in language.marks(cases)] == ["not reached", "reached", "not reached"]
    small = [{**cases[-1], "ratio": 1.0, "parameters": 1_000_000}]
    assert [mark.state for mark in language.marks(small)] == ["not measured"] * 3
    assert [mark.state for mark in language.marks([{**cases[-1], "ratio": 1.05}])][-1] == "reached"
