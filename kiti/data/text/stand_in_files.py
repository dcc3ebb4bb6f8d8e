"""The files that scripts/fetch_text_stand_ins.py makes, and what is in them."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from kiti.data.text.text_rows import Row, rows_sha256

FETCH = "scripts/fetch_text_stand_ins.py"
SPLITS = ("train", "validation", "test")


class StandIn(NamedTuple):
    """A stand-in set: what it is, its columns with the label last, its classes, and the sha256 of each split's rows.

    It is that of `rows_sha256`, because that of a Parquet file depends on the library that wrote it.
    """

    what: str
    columns: tuple[str, ...]
    classes: tuple[str, ...]
    rows: dict[str, int]
    sha256: dict[str, str]


STAND_INS: dict[str, StandIn] = {
    "movie_reviews": StandIn(
        "sentences of movie reviews, in place of IMDb",
        ("text", "label"),
        ("negative", "positive"),
        {"train": 8461, "validation": 1042, "test": 1065},
        {
            "train": "fb6952a59e4fc9700381ed5b38caa665f04228219c2c44669bbbe2bf82dc65be",
            "validation": "541d18c229ba57d6eef1348c0fdf5a4276e95fc38f3cbc83137af3a0e3ddb7a0",
            "test": "cfd66ca2f5c9cce0c7210251f911e7234b2e562f896235d2cb1750fcb99edb48",
        },
    ),
    "pubmedqa": StandIn(
        "PubMedQA, questions about abstracts, in place of SNLI",
        ("premise", "hypothesis", "label"),
        ("yes", "no", "maybe"),
        {"train": 306, "validation": 109, "test": 85},
        {
            "train": "761fca223b6b8270fdec378a712b05f5ab12ffc4fb4f46fecb0c2c91e86e5caf",
            "validation": "46020031fde1c41721a838a5f2cc220b7a31b4f955ba328561c65c6e93a9d746",
            "test": "a88149f964966be6483fbda22c21e547a4a50bfbd58e3f06c038d6467cbae948",
        },
    ),
    "boolq": StandIn(
        "BoolQ, questions about passages, in place of SNLI, with two classes",
        ("premise", "hypothesis", "label"),
        ("False", "True"),
        {"train": 2646, "validation": 327, "test": 297},
        {
            "train": "6ea13c13a02092c6122dcc941eca6672df9b18a249d5e4dd6fcb8f0324ae4cfb",
            "validation": "3afc90da8445d3ba8624f05d1e2c9aa062188411b92503f61706d4c28cc63ae8",
            "test": "749a3c168abb032133bdc66f3c9f5f9c01a390544c58749e66183bfe7f73b7d9",
        },
    ),
    "home_intents": StandIn(
        "commands to Home Assistant, drawn from its templates and split by template, in place of Snips",
        ("text", "label"),
        (
            "HassCancelTimer",
            "HassClimateGetTemperature",
            "HassClimateSetFanMode",
            "HassClimateSetTemperature",
            "HassDecreaseTimer",
            "HassFanSetSpeed",
            "HassGetState",
            "HassIncreaseTimer",
            "HassLawnMowerDock",
            "HassLightSet",
            "HassMediaNext",
            "HassMediaPause",
            "HassMediaPrevious",
            "HassMediaSearchAndPlay",
            "HassPauseTimer",
            "HassSetPosition",
            "HassSetVolume",
            "HassSetVolumeRelative",
            "HassStartTimer",
            "HassTimerStatus",
            "HassTurnOff",
            "HassTurnOn",
            "HassUnpauseTimer",
        ),
        {"train": 4547, "validation": 981, "test": 1025},
        {
            "train": "b1efd98d971dafa805d9b19958da5f55bd15ce56e0b2fef53fcb51c35dcae9fc",
            "validation": "b53c0a2d77e01c2fd58cdbb8f6717d6bdde46c8b80cb5fe1d80cd0b2540bcad8",
            "test": "41b590bb148098d409650101c99118abddd54395fa1ca7134630a942c577e37c",
        },
    ),
}

MINILM = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    "README.md": "7dfc82496ec33f906b5b0d6750c1e2397da6530c74d1ae3568c55bc2739125e7",
}
"""sha256 of the files of the encoder and its tokenizer."""
MINILM_3 = {
    "model.safetensors": "a5cd241c691db77ea5ce32dd13c42d9ea9d16378c6118612d95888caeec78f4b",
    **{
        name: MINILM[name]
        for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
    },
}
"""The same of its first 3 layers as a DistilBERT; config.json depends on the version of transformers."""
MODELS = {"minilm": MINILM, "minilm_3": MINILM_3}


def folder(data_dir: str | Path, name: str) -> Path:
    """Where the stand-in `name` lies: `<split>.parquet` for each of SPLITS."""
    return Path(data_dir) / "text" / name


def model_folder(data_dir: str | Path, name: str) -> Path:
    """Where a model of MODELS lies, as `from_pretrained` reads it."""
    return Path(data_dir) / "models" / name.replace("_", "-")


def missing(data_dir: str | Path, name: str) -> str | None:
    """One line if a file of the stand-in `name` is not there."""
    for split in SPLITS:
        path = folder(data_dir, name) / f"{split}.parquet"
        if not path.is_file():
            return f"{path} is missing; {FETCH} {data_dir} makes it"
    return None


def is_complete(data_dir: str | Path, name: str) -> bool:
    """Whether the stand-in `name`, or a model of MODELS, is there with the expected content."""
    if name in MODELS:
        files = {model_folder(data_dir, name) / file: sha256 for file, sha256 in MODELS[name].items()}
        return all(path.is_file() and _sha256(path) == sha256 for path, sha256 in files.items())
    expected = STAND_INS[name].sha256
    paths = {split: folder(data_dir, name) / f"{split}.parquet" for split in SPLITS}
    return all(path.is_file() and _rows_of(path, name) == expected[split] for split, path in paths.items())


def _rows_of(path: Path, name: str) -> str | None:
    import pyarrow.parquet as pq  # here, as declarations import this module

    columns = STAND_INS[name].columns
    try:
        table = pq.read_table(path, columns=list(columns))
        texts = [table.column(column).to_pylist() for column in columns[:-1]]
    except (OSError, ValueError, KeyError):  # pyarrow's ArrowInvalid is a ValueError
        return None
    pairs = texts[1] if len(texts) > 1 else [None] * len(texts[0])
    return rows_sha256(map(Row, texts[0], pairs, table.column(columns[-1]).to_pylist()))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
