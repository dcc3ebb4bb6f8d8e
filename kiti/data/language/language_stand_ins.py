"""The files that scripts/fetch_language_stand_ins.py makes, and what is in them."""

import hashlib
from pathlib import Path
from typing import NamedTuple

FETCH = "scripts/fetch_language_stand_ins.py"
DOCUMENTS = "documents.jsonl"


class Corpus(NamedTuple):
    """A corpus, its weight in the mixture, and its number of documents and of their bytes by split.

    `sha256` is that of its file: lines {"text": …}.
    """

    what: str
    weight: float
    documents: dict[str, int]
    bytes: dict[str, int]
    sha256: str


class Vocabulary(NamedTuple):
    """A tokenizer: its number of ids, the id of `<|endoftext|>`, and the sha256 that `bpe.tokenizer_sha256` takes."""

    what: str
    size: int
    end: int
    sha256: str


class Lines(NamedTuple):
    """A file of questions, one a line, and its sha256."""

    what: str
    number: int
    sha256: str


CORPORA: dict[str, Corpus] = {
    "python_manual": Corpus(
        "Python's manual, in place of FineWeb-Edu",
        0.70,
        {"train": 538, "validation": 17, "test": 14},
        {"train": 9224005, "validation": 291415, "test": 233355},
        "c15e76c09ce21b8eb19048eda36e25cedd143c5f3e26b4a8dd4e2c0733f29ab1",
    ),
    "standard_library": Corpus(
        "the sources of Python's standard library, in place of OpenCoder",
        0.15,
        {"train": 422, "validation": 10, "test": 9},
        {"train": 6828744, "validation": 191531, "test": 162335},
        "c374351ed2de9daf64904a84bc22164e4a5070123730faa78e47b10dba5ccefe",
    ),
    "set_mm": Corpus(
        "the comments of set.mm, in place of MegaMath and Open-Web-Math",
        0.15,
        {"train": 1341, "validation": 17, "test": 35},
        {"train": 3293216, "validation": 39805, "test": 102587},
        "6a75baed8dca34f833c3bdfd92e4310651f0b822d9db8325126cefea4c2766a5",
    ),
}
TOKENIZERS: dict[str, Vocabulary] = {
    "kiti-bpe-4096": Vocabulary(
        "a byte-level BPE trained on the three corpora",
        4096,
        0,
        "01a1009c7039bbd7bb411aa8ba63f4e710bd1e0f4c7518eece09fb9cb67187d7",
    ),
    "gpt2-tokenizer": Vocabulary(
        "GPT-2's own",
        50257,
        50256,
        "231b8908e14ad8e4addfab2f98542b6dbd36f0b818427e825d6d1efab26c05df",
    ),
}
ITEMS: dict[str, Lines] = {
    "mmlu": Lines(
        "MMLU, without the names of its subjects",
        2842,
        "5d7fa0ad9e6ffaab72cc4a749a58341025431e74ae4c56d9fbf49055f883ef03",
    ),
    "openbookqa": Lines("OpenBookQA, test", 500, "8c6fd4865a9fc846379e2896ce41781893bda629916fa1ac91070b528f3eaf15"),
    "piqa": Lines("PIQA, some of validation", 1500, "2cf96b895702c88619db7a309992fa87c45d6aad7c796be587aace842657c724"),
    "commonsenseqa": Lines(
        "CommonsenseQA, validation", 1211, "5c1ad1c0e25d05388cf3569487c2fbf0828d1c52c33a80ed7ff5d629061e182f"
    ),
}
CHOICES = {"mmlu": 4, "openbookqa": 4, "piqa": 2, "commonsenseqa": 5}
"""How many choices each question of a set has."""
PROBLEMS: dict[str, Lines] = {
    "word_problems": Lines(
        "templates of GSM8K, in place of GSM8K",
        300,
        "6f1f2745134806eba55810f3b2ede5b16dee0b32e318fe25c1bc511c0187cfc4",
    ),
    "arithmetic": Lines(
        "sums, in place of MATH", 300, "06f5fd9f53e7bbf6255c4cd0bcf8b8b0096c32101c738c692f3ee8702154c7f8"
    ),
    "number_theory": Lines(
        "greatest common divisors, in place of MATH",
        300,
        "a29a5edb082bf8524654c49cd6dbc771a3d2248ae64fcab298dac58a492e3a55",
    ),
}
NAMES = (*CORPORA, *TOKENIZERS, *ITEMS, *PROBLEMS)


def place(data_dir: str | Path, name: str) -> Path:
    """Where `name` of NAMES lies: the folder of a corpus or a tokenizer, or a file of questions."""
    if name in CORPORA:
        return Path(data_dir) / "corpora" / name
    if name in TOKENIZERS:
        return Path(data_dir) / "models" / name
    return Path(data_dir) / ("items" if name in ITEMS else "problems") / f"{name}.jsonl"


def files(name: str) -> frozenset[str]:
    """The names of the files that `name` consists of."""
    if name in CORPORA:
        return frozenset({DOCUMENTS})
    return frozenset({"tokenizer.json", "tokenizer_config.json"} if name in TOKENIZERS else {f"{name}.jsonl"})


def missing(data_dir: str | Path, name: str) -> str | None:
    """One line if a file of `name` is not there: which, and what makes it."""
    where = place(data_dir, name)
    for file in sorted(files(name)):
        path = where if where.suffix == ".jsonl" else where / file
        if not path.is_file():
            return f"{path} is missing; {FETCH} {data_dir} {name} makes it"
    return None


def is_complete(data_dir: str | Path, name: str) -> bool:
    """Whether `name` is there with the expected content."""
    return missing(data_dir, name) is None and found_sha256(place(data_dir, name), name) == expected_sha256(name)


def found_sha256(where: Path, name: str) -> str | None:
    """The sha256 of what is at `where`, to be compared with the expected one; None if it cannot be read."""
    if name in TOKENIZERS:
        from kiti.data.language.bpe import tokenizer_sha256  # here, as declarations import this module

        return tokenizer_sha256(where)
    with (where / DOCUMENTS if name in CORPORA else where).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def expected_sha256(name: str) -> str:
    known: dict[str, Corpus | Vocabulary | Lines] = {**CORPORA, **TOKENIZERS, **ITEMS, **PROBLEMS}
    return known[name].sha256
