"""Files of texts are read exactly, and what is wrong with one is a line that names it and says what would do."""

from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from text_cases import REVIEWS, imdb, tokenizer_folder, write

from kiti.data import DataError
from kiti.data.text.text_files import find_files, read_file
from kiti.data.text.text_rows import Classes, Columns, Row, checked_rows, common

COLUMNS, CLASSES = Columns("text", None, "label"), Classes(2, ("neg", "pos"))
WORDS = ["NA", "null", "None", "nan", "", "1", "N/A", "true", "#N/A", " ", 'a "quoted", word', "two\nlines", "é"]


def rows_of(path: Path, columns: Columns = COLUMNS, classes: Classes = CLASSES) -> list[Row]:
    return checked_rows(read_file(path, columns, classes), columns, classes)[0]


def complaint(path: Path, columns: Columns = COLUMNS, classes: Classes = CLASSES) -> str:
    with pytest.raises(DataError) as error:
        rows_of(path, columns, classes)
    assert "\n" not in str(error.value)
    return str(error.value)


def saved(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
def test_words_that_look_like_missing_values_stay_words(suffix: str, tmp_path: Path) -> None:
    words = [word.replace('"', '""') for word in WORDS] if suffix == ".csv" else WORDS
    write(tmp_path, {"train": {"text": words, "label": [n % 2 for n in range(len(words))]}}, suffix)
    [path] = find_files(tmp_path, "train")
    assert rows_of(path) == [Row(word, None, n % 2) for n, word in enumerate(WORDS)]


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
def test_labels_may_be_names(suffix: str, tmp_path: Path) -> None:
    write(tmp_path, {"train": {"text": ["a", "b"], "label": ["pos", "neg"]}}, suffix)
    assert [row.label for row in rows_of(*find_files(tmp_path, "train"))] == [1, 0]


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "train.csv", b"\xef\xbb\xbftext,label\r\ngood,1\r\n\r\nbad,0\r\n")
    assert rows_of(path) == [Row("good", None, 1), Row("bad", None, 0)]
    assert rows_of(saved(tmp_path / "train.jsonl", b'\xef\xbb\xbf{"text": "good", "label": 1}\r\n\r\n')) == [
        Row("good", None, 1)
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "t.jsonl",
            b'{"text": "a", "label": 1}\n{"text": "\xff", "label": 1}\n',
            ":2: byte 11 (0xff) is not UTF-8; conv",
        ),
        (
            "t.csv",
            b"text,label\na,1\n\xe9t\xe9,0\n",
            ":3: byte 1 (0xe9) is not UTF-8; convert the file, for example with",
        ),
        (
            "t.jsonl",
            b'{"text": "a", "label": 1}\n\n{"text": "a", "label": 2}\n',
            ":3: label 2 is not one of the classes 0 to",
        ),
        ("t.jsonl", b'{"text": "a", "label": true}\n', ":1: label True is not one of the classes 0 to 1 or neg, pos; "),
        ("t.jsonl", b'{"text": "a", "label": null}\n', ":1: label null is not one of the classes"),
        ("t.jsonl", b'{"text": "a", "label": -1}\n', ":1: label -1 is not one of the classes"),
        ("t.csv", b"text,label\na,1.0\n", ":2: label '1.0' is not one of the classes"),
        (
            "t.csv",
            b"text,label\na,1\nb,mixed\n",
            ":3: label 'mixed' is not one of the classes 0 to 1 or neg, pos; corr",
        ),
        (
            "t.jsonl",
            b'{"review": "a", "label": 1}\n',
            ":1: no column 'text'; there are review, label; data.columns.text=",
        ),
        (
            "t.csv",
            b"text,sentiment\na,1\n",
            ":1: no column 'label'; there are text, sentiment; data.columns.label=<colu",
        ),
        ("t.csv", b"", ":1: no column 'text'; there are none"),
        ("t.jsonl", b'{"text": 7, "label": 1}\n', ":1: text is 7 (int), not a string; write a string"),
        ("t.jsonl", b'{"text": null, "label": 1}\n', ":1: text is null, not a string"),
        ("t.jsonl", b'{"text": "\\ud83d", "label": 1}\n', ":1: text has half a surrogate pair at 0"),
        ("t.jsonl", b'{"text": "a", "label": 1\n', ":1: not JSON ("),
        ("t.jsonl", b"[1, 2]\n", ":1: not a JSON object; write one object a line"),
        ("t.csv", b'text,label\n"a\nb",1\nc, d,0\n', ":4: 3 fields, but 2 columns; put texts with commas into quotes"),
        ("t.csv", b'text,label\na,1\n"b,0\n', ":3: not CSV (unexpected end of data)"),
        ("t.parquet", b"PAR1 no", " is not a readable Parquet file ("),
    ],
)
def test_a_bad_row_is_named(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = saved(tmp_path / name, content)
    assert complaint(path).startswith(f"{path}{message}")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"text": ["a"], "grade": [1]},
            ": no column 'label'; there are text, grade; data.columns.label=<column> names",
        ),
        ({"text": [1, 2], "label": [0, 1]}, ": text has type int64, not string; convert the column"),
        ({"text": ["a"], "label": [0.5]}, ": label has type double, not integer or string; convert the column"),
        ({"text": ["a", None], "label": [0, 1]}, ": row 2: text is null, not a string"),
        (
            {"text": ["a", "b"], "label": [0, 5]},
            ": row 2: label 5 is not one of the classes 0 to 1 or neg, pos; correct",
        ),
    ],
)
def test_a_bad_parquet_file_is_named(columns: dict[str, list[Any]], message: str, tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table(columns), path)
    assert complaint(path).startswith(f"{path}{message}")


def test_a_parquet_row_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    texts = pa.array([b"a", b"b\xff"], pa.binary()).view(pa.string())
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table({"text": texts, "label": [0, 1]}), path)
    assert complaint(path) == f"{path}: row 2: text is not UTF-8 at byte 2; write the file again"


def test_the_files_own_class_names_count(tmp_path: Path) -> None:
    """As on the hub, where a ClassLabel may number them in another order, or have more of them."""

    def save(names: list[str]) -> Path:
        features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
        rows = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}, features=features)
        rows.to_parquet(tmp_path / "train.parquet")
        return tmp_path / "train.parquet"

    assert [row.label for row in rows_of(save(["pos", "neg"]))] == [1, 0]
    assert "3 classes (neg, neutral, pos), but data.classes=2; set data.classes=3" in complaint(
        save(["neg", "neutral", "pos"])
    )
    assert "its classes are ham, spam, not neg, pos" in complaint(save(["ham", "spam"]))


def test_rows_are_counted_and_unlabelled_ones_dropped(tmp_path: Path) -> None:
    columns, classes = Columns("premise", "hypothesis", "label"), Classes(3, unlabelled=(-1, "-"))
    pairs = {"premise": ["a", "a", "b", " ", "a"], "hypothesis": ["b", "b", "b", "c", "b"], "label": [0, 1, -1, 2, 1]}
    write(tmp_path, {"train": pairs})
    rows, counts = checked_rows(read_file(tmp_path / "train.parquet", columns, classes), columns, classes)
    assert [row.label for row in rows] == [0, 1, 2, 1]
    assert counts == {"unlabelled": 1, "duplicates": 2, "empty": 1}
    assert common(rows, [Row("a", "b", 2)]) == 3


def test_files_of_a_split(tmp_path: Path) -> None:
    write(tmp_path / "plain_text", {"train-00001-of-00002": REVIEWS["test"], "train-00000-of-00002": REVIEWS["train"]})
    assert [path.name[:11] for path in find_files(tmp_path, "train")] == ["train-00000", "train-00001"]
    assert find_files(tmp_path, "test") == []
    write(tmp_path, {"train": REVIEWS["train"]}, ".csv")
    with pytest.raises(DataError, match="keep those of one format"):
        find_files(tmp_path, "train")


def test_a_missing_split_and_a_missing_class_are_reported(tmp_path: Path) -> None:
    tokenizer_folder(tmp_path / "model")
    folder = write(tmp_path / "files", {"train": REVIEWS["train"]})
    with pytest.raises(DataError, match=rf"{folder} has no test\.parquet, \.jsonl or \.csv; it needs train and test"):
        imdb(tmp_path).setup()
    write(folder, {**REVIEWS, "train": {"text": ["a", "b"], "label": [0, 0]}})
    with pytest.raises(DataError, match=r"train has rows of 1 classes, but data\.classes=2; set data\.classes=1"):
        imdb(tmp_path).setup()
    assert not list((tmp_path / "data" / "tokens" / "imdb").glob("*.making-*"))
