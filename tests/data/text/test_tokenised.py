"""Tokens are made once, whole, and again whenever something that determines them has changed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from text_cases import REVIEWS, imdb, tokenizer_folder, write
from transformers import AutoTokenizer, BertTokenizer

from kiti.data import DataError
from kiti.data.text import tokenised
from kiti.data.text.published_texts import PublishedTexts
from kiti.data.text.tokenizer_check import load_tokenizer


@pytest.fixture
def root(tmp_path: Path) -> Path:
    tokenizer_folder(tmp_path / "model")
    write(tmp_path / "files", REVIEWS)
    return tmp_path


def caches(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "data" / "tokens" / "imdb").iterdir() if path.is_dir())


def all_rows(data: PublishedTexts) -> list[tuple[list[int], int]]:
    """Token numbers without padding, and label, of each test item."""
    return [
        (ids[:length].tolist(), int(label))
        for batch in data.test_dataloader()
        for ids, length, label in zip(batch[0], batch[1].sum(1), batch[3], strict=True)
    ]


def test_batches_are_what_the_tokenizer_gives(root: Path) -> None:
    data, tokenizer = imdb(root, max_length=5), AutoTokenizer.from_pretrained(root / "model")
    found = [batch for _ in range(2) for batch in data.train_dataloader()]
    seen = []
    for ids, mask, segments, labels in found:
        assert {one.dtype for one in (ids, mask, segments, labels)} == {torch.int64}
        assert mask.sum(1).max() == ids.shape[1]
        assert not segments.any()
        assert (ids[mask == 0] == tokenizer.pad_token_id).all()
        seen += [
            (row[row_mask == 1].tolist(), int(label)) for row, row_mask, label in zip(ids, mask, labels, strict=True)
        ]
    texts, labels = REVIEWS["train"].values()
    expected = [
        (tokenizer(text, truncation=True, max_length=5)["input_ids"], label)
        for text, label in zip(texts, labels, strict=True)
    ]
    assert sorted(seen) == sorted(expected * 2)


def test_pairs_have_two_segments_and_are_cut_at_the_longer(tmp_path: Path) -> None:
    tokenizer_folder(tmp_path / "model")
    pairs = {"premise": ["it is not very good", "a"], "hypothesis": ["no", "the film"], "label": [0, 1]}
    write(tmp_path / "files", dict.fromkeys(("train", "validation", "test"), pairs))
    columns = {"text": "premise", "pair": "hypothesis", "label": "label"}
    pairs["premise"], pairs["label"] = ["it is not very good", "a", "the"], [0, 1, 2]
    pairs["hypothesis"] = ["no", "the film", "na"]
    write(tmp_path / "files", dict.fromkeys(("train", "validation", "test"), pairs))
    data = imdb(tmp_path, set="snli", columns=columns, classes=3, max_length=7, eval_batch_size=3, pad_multiple=4)
    [(ids, mask, segments, labels)] = data.test_dataloader()
    assert ids.shape == (3, 8)
    assert labels.tolist() == [2, 1, 0]
    assert mask.sum(1).tolist() == [5, 6, 7]
    assert segments.tolist() == [[0, 0, 0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 1, 1, 0]]
    assert data.counts == {
        "test_in_train": 3,
        "test_truncated": 1,
        "train_truncated": 1,
        "validation_in_train": 3,
        "validation_truncated": 1,
    }


def test_what_is_counted(root: Path) -> None:
    train = {"text": [*REVIEWS["train"]["text"], "NA", "good"], "label": [*REVIEWS["train"]["label"], 1, 1]}
    write(root / "files", {"train": train})
    assert imdb(root, max_length=5).counts == {
        "test_in_train": 1,
        "train_duplicates": 1,
        "train_empty": 1,
        "train_truncated": 2,
    }
    assert "train_truncated" not in imdb(root, max_length=5, n_train=1).counts | imdb(root, max_length=8).counts


def test_tokenised_once_and_memory_mapped(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = all_rows(imdb(root))
    monkeypatch.setattr(tokenised, "_tensors", lambda *_: pytest.fail("tokenised again"))
    again = imdb(root)
    assert all_rows(again) == first
    [cache] = caches(root)
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if cache in line]
    assert mapped


def retouch(root: Path) -> dict[str, Any]:
    """The same rows in another file, as long as it was and with its time: only the content tells."""
    path = root / "files" / "test.parquet"
    before = path.stat()
    write(root / "files", {"test": {"text": ["good", "bad film", "None"], "label": [0, 1, 0]}})
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return {}


def lengthen(root: Path) -> dict[str, Any]:
    return {"max_length": 4}


def extend(root: Path) -> dict[str, Any]:
    tokenizer_folder(root / "model", vocab=["good", "bad", "film", "none"])
    return {}


@pytest.mark.parametrize("change", [retouch, lengthen, extend])
def test_a_change_is_never_served_from_the_old_cache(change, root: Path) -> None:
    before, [old] = all_rows(imdb(root)), caches(root)
    settings = change(root)
    after = all_rows(imdb(root, **settings))
    assert len(caches(root)) == 2
    assert old in caches(root)
    if change is not lengthen:
        assert after != before


PROCESS = """
import sys, time
from pathlib import Path
root = Path(sys.argv[1])
from text_cases import imdb
from kiti.data.text import tokenised
encoded = tokenised._encoded
def slowly(rows, tokenizer):
    with (root / "made").open("a") as side:
        side.write("x")
    while not (root / "go").exists():
        time.sleep(0.01)
    return encoded(rows, tokenizer)
tokenised._encoded = slowly
data = imdb(root)
print(sum(int(batch[0].sum()) for batch in data.train_dataloader()), len(data.test_dataloader()))
"""


def start(root: Path, name: str) -> subprocess.Popen[bytes]:
    program = f"import sys\nsys.path[:0] = {json.loads(json.dumps(sys.path))!r}\n{PROCESS}"
    with (root / f"{name}.out").open("w") as out, (root / f"{name}.err").open("w") as err:
        return subprocess.Popen([sys.executable, "-c", program, str(root)], stdout=out, stderr=err)


def wait_for(condition) -> None:
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.slow
def test_killed_while_tokenising_then_two_at_once(root: Path) -> None:
    killed = start(root, "killed")
    try:
        wait_for((root / "made").exists)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    [left] = caches(root)
    assert ".making-" in left
    (root / "made").unlink()
    two = [start(root, "one"), start(root, "other")]
    try:
        wait_for(lambda: any("waiting" in (root / f"{name}.err").read_text() for name in ("one", "other")))
        (root / "go").touch()
        assert [process.wait(timeout=120) for process in two] == [0, 0]
    finally:
        for process in two:
            process.kill()
            process.wait()
    assert (root / "made").read_text() == "xx"  # each of two splits, once
    assert (root / "one.out").read_text() == (root / "other.out").read_text() != ""
    assert len(caches(root)) == 1


def test_a_tokenizer_that_stores_no_length_truncates(root: Path) -> None:
    path = root / "model" / "tokenizer_config.json"
    stored = json.loads(path.read_text())
    stored.pop("model_max_length", None)
    path.write_text(json.dumps(stored))
    assert AutoTokenizer.from_pretrained(root / "model").model_max_length > 1e6
    assert load_tokenizer(str(root / "model"), None, 64, False).of("a " * 100)["input_ids"].__len__() == 102
    long = {"text": ["good " * 100, "bad"], "label": [1, 0]}
    write(root / "files", {"train": long, "test": long})
    data = imdb(root, max_length=64)
    assert max(batch[0].shape[1] for batch in data.test_dataloader()) == 64
    assert data.counts["train_truncated"] == 1


def save(folder: Path, **change: Any) -> None:
    """Change tokenizer.json, and have it read as it is: BERT's own class would put its own rules in."""
    for name, news in (("tokenizer.json", change), ("tokenizer_config.json", {"tokenizer_class": "TokenizersBackend"})):
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | news))


def without_files(folder: Path) -> None:
    for path in folder.glob("[tv]o*"):
        path.unlink()


def without_special_tokens(folder: Path) -> None:
    save(folder, post_processor=None)


def of_one_segment(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    text = json.dumps(tokenizer["post_processor"]).replace('"type_id": 1', '"type_id": 0')
    save(folder, post_processor=json.loads(text))


def too_large(folder: Path) -> None:
    tokenizer_folder(folder, vocab_size=10)


def with_few_positions(folder: Path) -> None:
    tokenizer_folder(folder, max_position_embeddings=7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_files, r"model: no tokenizer: neither tokenizer\.json nor vocab\.txt; copy the model's there"),
        (without_special_tokens, r"does not write \[CLS\] text \[SEP\] text \[SEP\]; use that of a BERT or DistilBERT"),
        (of_one_segment, "numbers the segments of a pair (0 and 0|None and None), not 0 and 1"),
        (too_large, "the tokenizer has 20 tokens, the model's embedding 10 rows; use the tokenizer that"),
        (with_few_positions, r"data\.max_length=8: .*model has 7 positions; choose at most that many"),
    ],
)
def test_an_unfit_tokenizer_is_refused_before_anything_is_tokenised(change, message: str, root: Path) -> None:
    change(root / "model")
    with pytest.raises(DataError, match=message) as error:
        load_tokenizer(str(root / "model"), None, 8, True)
    assert "\n" not in str(error.value)


def test_a_tokenizer_that_is_nowhere_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder; give one with") as error:
        load_tokenizer(str(tmp_path / "nowhere"), None, 8, True)
    assert "\n" not in str(error.value)


def test_the_fixture_is_a_bert_tokenizer(root: Path) -> None:
    assert isinstance(AutoTokenizer.from_pretrained(root / "model"), BertTokenizer)
