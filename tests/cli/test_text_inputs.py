"""Wrong files of a classifier of texts: one line, exit status 2, no torch imported, nothing written."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import text_sets

PROGRAM = """
import sys
sys.argv = ["kiti-train", *{arguments!r}]
from kiti.train import main
try:
    main()
except SystemExit as end:
    print("torch" in sys.modules, end.code)
"""


def no_tokenizer(folder: Path) -> None:
    (folder / "encoder" / "tokenizer.json").unlink()


def another_model(folder: Path) -> None:
    path = folder / "encoder" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "gpt2"}))


def nothing(folder: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("spoil", "overrides", "message"),
    [
        (no_tokenizer, [], "/encoder: no tokenizer.json or vocab.txt; a folder as save_pretrained writes it is needed"),
        (another_model, [], "/encoder: a model of type gpt2, and model.family=bert; choose another of the two"),
        (nothing, ["model.path=/nowhere"], "model.path=/nowhere: no such folder; give one with config.json, "),
        (nothing, ["model.weights=null"], "model.weights is missing; if they are meant, give model.weights="),
        (nothing, ["model.head=stored"], "a BertModel has no classifier of texts, and model.head=stored needs one"),
        (nothing, ["data.max_length=40"], "data.max_length=40 is more than the 32 positions of the model"),
        (nothing, ["model.vocab_size=60"], "has other sizes than the configuration; if they are meant, give model.v"),
        (nothing, ["model.commit=main"], "model.commit=main: string should match pattern"),
        (nothing, ["model.heads=3"], "heads=3 does not divide width=16"),
    ],
)
def test_one_line_before_torch(
    spoil: Callable[[Path], None], overrides: list[str], message: str, tmp_path: Path
) -> None:
    arguments = ["experiment=bert_imdb", "scale=smoke", *text_sets.prepared("bert_imdb", tmp_path), *overrides]
    spoil(tmp_path)
    arguments += [f"data_dir={tmp_path / 'data'}", f"runs_dir={tmp_path / 'runs'}"]
    program = PROGRAM.format(arguments=arguments)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "False 2", done.stderr
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("kiti-train: ")
    assert message in line
    assert not (tmp_path / "data").exists()
    assert not list((tmp_path / "runs").rglob("record.json"))
