"""Preparing the tokens of a corpus in kiti and in nanoGPT's way: the same texts, tokenizer, processes and ids.

    python -m benchmarks.benchmark_tokens --json experiments/benchmarks/tokens.cpu.json \\
        --markdown experiments/benchmarks/tokens.cpu.md
    python -m benchmarks.benchmark_tokens --texts data/corpora/python_manual --tokenizer data/models/gpt2-tokenizer

nanoGPT's way is that of its data/openwebtext/prepare.py, written anew: `datasets` maps each text to its ids in several
processes, and the ids are written through a memory map in 1,024 parts. It begins with a data set that is loaded
already; kiti begins with a JSONL file, and also computes hashes, splits, checksums and the index. A third way maps
many texts at once with the call of the tokenizers library that kiti uses.
"""

import contextlib
import json
import os
import shutil
import sysconfig
import tempfile
import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # before `datasets` forks: its processes are the parallelism

import datasets
import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from benchmarks import benchmarking
from benchmarks.benchmarking import Mark, Unusable, judge
from benchmarks.measuring import Timing, paired_ratio
from kiti.data import DataError
from kiti.data.language import shards
from kiti.data.language.language_tokenizer import END, LanguageTokenizer, read_tokenizer
from kiti.data.language.local_documents import LocalDocuments
from kiti.report.formats import NOTHING, Grid

NANOGPT = "nanoGPT's way"
LEAST = 1.0  # mark: bytes a second over nanoGPT's
PARTS = 1024
_BYTES = 12_000_000  # of text
_PIECES = 4096


def main(arguments: Sequence[str] | None = None) -> None:
    parser = benchmarking.parser(__doc__)
    parser.set_defaults(repeats=9)
    parser.add_argument("--texts", type=_there, metavar="PATH", help="a corpus; the standard library's sources")
    parser.add_argument("--tokenizer", type=_there, metavar="DIR", help="by default a BPE of 4,096 pieces")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)), metavar="N")
    benchmarking.run(parser.parse_args(arguments), "tokens", measure, grid)


def _there(text: str) -> Path:
    if not Path(text).exists():
        raise ArgumentTypeError(f"{text!r}: no such file or folder")
    return Path(text)


def measure(args: Namespace) -> dict[str, Any]:
    started = time.time()
    datasets.disable_progress_bars()
    limit = 200_000 if args.quick else _BYTES
    with tempfile.TemporaryDirectory() as folder:
        args.folder = Path(folder)
        args.corpus = args.folder / "texts.jsonl"
        found = texts_of(args.texts, limit)
        args.corpus.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in found))
        args.known = tokenizer_of(args.tokenizer, found, args.folder)
        settings = {
            "bytes": sum(len(text.encode()) for text in found),
            "documents": len(found),
            "texts": "the standard library's sources" if args.texts is None else args.texts.name,
            "tokenizer": f"a BPE of {_PIECES} pieces" if args.tokenizer is None else args.tokenizer.name,
            "ids": args.known.largest + 1,
            "processes": args.processes,
        }
        names = benchmarking.selected([NANOGPT, f"{NANOGPT}, batched"], str, args)
        cases = (measure_case(name, args) for name in benchmarking.progress(names, "cases"))
        return benchmarking.gather("tokens", args, started, settings, cases, marks)


def texts_of(path: Path | None, limit: int) -> list[str]:
    """Texts of a corpus, up to about `limit` bytes; the standard library's sources if none is given."""
    found, size = [], 0
    for text in _sources() if path is None else _documents(path):
        found.append(text)
        size += len(text.encode())
        if size >= limit:
            break
    return found


def _sources() -> Iterator[str]:
    folder = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(folder.rglob("*.py")):
        if "site-packages" not in path.parts:
            with contextlib.suppress(UnicodeDecodeError):  # a few tests are in other encodings
                if (text := path.read_text(encoding="utf-8")).strip():
                    yield text


def _documents(path: Path) -> Iterator[str]:
    try:
        for some in LocalDocuments(path, "text", Path(os.devnull)).read(None):
            yield from (text for text in some.texts if text.strip())
    except DataError as error:
        raise Unusable(str(error)) from None


def tokenizer_of(path: Path | None, texts: Sequence[str], folder: Path) -> LanguageTokenizer:
    """The tokenizer in a folder, or one trained on every eighth text."""
    if path is None:
        path = folder / "tokenizer"
        path.mkdir()
        made = tokenizers.Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=_PIECES, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
        )
        made.train_from_iterator(texts[::8], trainer)
        made.save(str(path / "tokenizer.json"))
    try:
        return read_tokenizer(str(path), None)
    except DataError as error:
        raise Unusable(str(error)) from None


def measure_case(name: str, args: Namespace) -> dict[str, Any]:
    loaded = datasets.load_dataset(
        "json", data_files=str(args.corpus), split="train", cache_dir=str(args.folder / "loaded")
    )
    encode = encode_one(args.known) if name == NANOGPT else encode_many(args.known)
    ways: dict[str, Callable[[Path], np.ndarray]] = {
        "kiti": lambda into: of_kiti(args, into),
        name: lambda into: of_nanogpt(loaded, encode, name != NANOGPT, args, into),
    }
    rounds: dict[str, list[list[float]]] = {way: [] for way in ways}
    order = list(ways)
    for _ in range(args.repeats):
        ids = {}
        for way in order:
            into = args.folder / "made"
            into.mkdir()
            start = time.perf_counter()
            made = ways[way](into)
            rounds[way].append([time.perf_counter() - start])
            ids[way] = np.array(made)
            shutil.rmtree(into)
        assert np.array_equal(*ids.values()), "the ids differ"
        order.reverse()
    timings = {way: Timing(seconds) for way, seconds in rounds.items()}
    faster = paired_ratio(timings[name], timings["kiti"])
    return {
        "case": name,
        "tokens": len(ids["kiti"]),
        "ways": [{"way": way, **timing.summary()} for way, timing in timings.items()],
        "faster": faster.ratio,
        "lowest": None if np.isnan(faster.lowest) else faster.lowest,
        "highest": None if np.isnan(faster.highest) else faster.highest,
    }


def of_kiti(args: Namespace, into: Path) -> np.ndarray:
    """The ids of all shards, through memory maps."""
    source = LocalDocuments(args.corpus, "text", into / "sums.json")
    index = shards.prepared(into, "corpus", source, args.known, 1, processes=args.processes)
    maps = [np.memmap(index.path("tokens", number), index.dtype, "r") for number in range(len(index.shards))]
    return maps[0] if len(maps) == 1 else np.concatenate(maps)


def of_nanogpt(
    loaded: datasets.Dataset, encode: Callable[[Any], Any], batched: bool, args: Namespace, into: Path
) -> np.ndarray:
    """The ids in one memory map."""
    mapped = loaded.map(
        encode,
        batched=batched,
        remove_columns=["text"],
        num_proc=args.processes,
        load_from_cache_file=False,
        cache_file_name=str(into / "mapped.arrow"),
    )
    total = int(np.sum(mapped["len"], dtype=np.uint64))
    ids = np.memmap(into / "ids.bin", args.known.dtype, "w+", shape=(total,))
    place = 0
    parts = min(PARTS, len(mapped))
    for number in range(parts):
        part = mapped.shard(num_shards=parts, index=number, contiguous=True).with_format("numpy")
        some = np.concatenate(part["ids"][:])
        ids[place : place + len(some)] = some
        place += len(some)
    ids.flush()
    return ids


def encode_one(known: LanguageTokenizer) -> Callable[[Any], Any]:
    """A text at a time, as nanoGPT does."""
    tokenizer, end = known.load(), known.end

    def encode(row: dict[str, str]) -> dict[str, Any]:
        ids = [*tokenizer.encode(row["text"], add_special_tokens=False).ids, end]
        return {"ids": ids, "len": len(ids)}

    return encode


def encode_many(known: LanguageTokenizer) -> Callable[[Any], Any]:
    """Many texts at a time, without the places of tokens in the text."""
    tokenizer, end = known.load(), known.end

    def encode(rows: dict[str, list[str]]) -> dict[str, Any]:
        found = tokenizer.encode_batch_fast(rows["text"], add_special_tokens=False)
        ids = [[*one.ids, end] for one in found]
        return {"ids": ids, "len": [len(one) for one in ids]}

    return encode


def marks(cases: Sequence[dict[str, Any]]) -> list[Mark]:
    """The mark of issue 22."""
    faster = {case["case"]: case["faster"] for case in cases}
    return [judge("at least as many bytes a second as nanoGPT's way", [(NANOGPT, faster.get(NANOGPT))], at_least=LEAST)]


def grid(record: dict[str, Any]) -> Grid:
    """A line for each case and way."""
    settings = record["settings"]
    lines = []
    for case in record["cases"]:
        for row in case["ways"]:
            of_kiti = row["way"] == "kiti"
            interval = f" [{case['lowest']:.2f}, {case['highest']:.2f}]" if case["lowest"] is not None else ""
            lines.append(
                [
                    case["case"],
                    row["way"],
                    f"{row['median_s']:.2f} ({row['min_s']:.2f}…{row['max_s']:.2f})",
                    f"{settings['bytes'] / row['median_s'] / 1e6:.2f}",
                    f"{case['faster']:.2f}{interval}" if of_kiti else NOTHING,
                ]
            )
    header = ["against", "way", "s", "MB/s", "times as fast"]
    notes = [
        f"{settings['bytes'] / 1e6:.1f} MB in {settings['documents']:,} texts of {settings['texts']}, "
        f"{settings['tokenizer']}, {settings['processes']} processes; the same ids, compared in each round",
        "rounds in turns; s: median (least…most); times as fast: the other way's seconds over kiti's within a round, "
        "median and 95 % interval",
        f"{NANOGPT}: datasets.map over `Tokenizer.encode`, then ids through a memory map, from a data set that is "
        "loaded already; batched: over `encode_batch_fast`; kiti: from JSONL, with hashes, splits and checksums",
        benchmarking.provenance(record),
    ]
    return Grid(f"Preparing the tokens of a corpus, {record['device']}", header, lines, notes)


if __name__ == "__main__":
    main()
