"""Local files of texts and a small encoder in place of what the experiments of text classification read."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from text_models import SIZES, WORDS, write_encoder

from kiti.models.pretrained_files import WEIGHTS, sha256

PUBLISHED = {
    "bert_imdb": "imdb",
    "imdb_ko": "imdb",
    "bert_movie_reviews": "imdb",
    "movie_reviews_ko": "imdb",
    "bert_snli": "snli",
    "bert_pubmedqa": "snli",
    "bert_boolq": "snli",
    "snips_ko": "snips",
    "home_intents_ko": "snips",
}
"""By experiment: the set whose files stand for its own; a stand-in's own have checksums."""
COLUMNS = {"imdb": ("text",), "snli": ("premise", "hypothesis"), "snips": ("utterance",)}
CLASSES = {"imdb": 2, "snli": 3, "snips": 7}


def prepared(experiment: str, folder: Path) -> list[str]:
    """Write them; returns the overrides that name them."""
    name = PUBLISHED[experiment]
    draw = random.Random(0)
    sizes = {"train": 40, "test": 12} | ({"validation": 12} if name == "snli" else {})
    (folder / "texts").mkdir(parents=True)
    for split, size in sizes.items():
        rows: dict[str, list[object]] = {
            column: [" ".join(draw.choices(WORDS, k=draw.randint(2, 9))) for _ in range(size)]
            for column in COLUMNS[name]
        }
        rows["label"] = [row % CLASSES[name] for row in range(size)]
        pq.write_table(pa.table(rows), folder / "texts" / f"{split}.parquet")
    encoder = write_encoder(folder / "encoder")
    of_model = ["model=minilm", f"model.path={encoder}", f"model.weights={sha256(encoder / WEIGHTS)}"]
    of_data = [f"data={name}", "data.commit=null", f"data.path={folder / 'texts'}"]
    return [*of_model, *of_data, *(f"model.{key}={size}" for key, size in SIZES.items())]
