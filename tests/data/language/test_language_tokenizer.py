"""A tokenizer's file says how wide its ids are and which bytes they stand for; an unfit one is refused in a line."""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from language_cases import END, change_tokenizer, texts, tokenizer_folder
from tokenizers import AddedToken

from kiti.data import DataError
from kiti.data.language import tokenising
from kiti.data.language.documents import Documents
from kiti.data.language.language_tokenizer import LanguageTokenizer, read_tokenizer
from kiti.data.language.tokenising import Tokeniser, tokenise


def refused(folder: Path, vocab_size: int | None = None) -> str:
    with pytest.raises(DataError) as error:
        read_tokenizer(str(folder), None, vocab_size)
    assert "\n" not in str(error.value)
    return str(error.value)


def with_id(folder: Path, number: int) -> LanguageTokenizer:
    """The tokenizer with one more added token, of this id."""
    stored = json.loads((folder / "tokenizer.json").read_text())
    token = {**stored["added_tokens"][0], "id": number, "content": "<extra>"}
    change_tokenizer(folder, added_tokens=[*stored["added_tokens"], token])
    return read_tokenizer(str(folder), None)


def test_what_is_read(tmp_path: Path) -> None:
    found = read_tokenizer(tokenizer_folder(tmp_path), None, 300)
    assert (found.end, found.largest, found.normalises) == (299, 299, False)
    assert found.dtype == np.dtype("<u2")
    assert found.load().token_to_id(END) == 299
    assert found.digest == read_tokenizer(tokenizer_folder(tmp_path / "again"), None).digest
    assert found.digest != read_tokenizer(tokenizer_folder(tmp_path / "other", pieces=299), None).digest


@pytest.mark.parametrize(("number", "dtype"), [(65_535, "<u2"), (65_536, "<u4"), (151_645, "<u4")])
def test_the_width_follows_from_the_largest_added_token(number: int, dtype: str, tmp_path: Path) -> None:
    tokenizer_folder(tmp_path)
    found = with_id(tmp_path, number)
    assert (found.largest, found.dtype) == (number, np.dtype(dtype))
    assert found.bytes_of_ids().shape == (number + 1,)
    tokens = Tokeniser(found)(["a particle"])
    assert tokens.ids.dtype == np.dtype(dtype)


@pytest.mark.parametrize("nfc", [False, True])
def test_ids_stand_for_the_bytes_of_a_text(nfc: bool, tmp_path: Path) -> None:
    found = read_tokenizer(tokenizer_folder(tmp_path, nfc=nfc, added=[AddedToken("kinétic")]), None)
    table, tokenizer = found.bytes_of_ids(), found.load()
    assert table[found.end] == 0
    for text in [*texts(20), "\x00\t\U0001f600 kinétic\r\n"]:
        assert table[tokenizer.encode(text).ids].sum() == len(text.encode())
    assert found.normalises == nfc
    apart = Tokeniser(found)(["e\u0301"])
    assert apart.sizes.tolist() == [3]
    assert table[apart.ids].sum() == (2 if nfc else 3)


def test_the_end_token_in_a_text_is_text(tmp_path: Path) -> None:
    found = read_tokenizer(tokenizer_folder(tmp_path), None)
    tokens = Tokeniser(found)([f"a {END} b"])
    assert (tokens.ids == found.end).sum() == 1
    assert tokens.ids[-1] == found.end
    assert found.load().decode(tokens.ids[:-1].tolist()) == f"a {END} b"


def test_empty_documents_are_left_out(tmp_path: Path) -> None:
    tokeniser = Tokeniser(read_tokenizer(tokenizer_folder(tmp_path), None))
    tokens = tokeniser(["", "a", " \n\t", "b"])
    assert (tokens.empty, len(tokens.lengths), tokens.sizes.tolist()) == (2, 2, [1, 1])
    assert tokens.lengths.sum() == len(tokens.ids) == 4
    assert tokeniser(["", " "]).lengths.shape == (0,)


def test_processes_change_nothing(tmp_path: Path) -> None:
    tokenizer = read_tokenizer(tokenizer_folder(tmp_path), None)
    parts = [Documents(texts(5, seed), {"part": seed}, seed) for seed in range(8)]
    alone, together = (list(tokenise(iter(parts), tokenizer, processes)) for processes in (1, 2))
    assert [some[1:] for some in alone] == [some[1:] for some in together] == [some[1:] for some in parts]
    for (one, *_), (other, *_) in zip(alone, together, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_unfit_tokenizers_are_refused(tmp_path: Path) -> None:
    assert "tokenizer.json is missing; give data.tokenizer=<folder with tokenizer.json>" in refused(tmp_path)
    tokenizer_folder(tmp_path)
    assert "has tokens up to 299, but the model's embedding has 299 rows; give model.vocab_size=300" in refused(
        tmp_path, 299
    )
    stored = json.loads((tmp_path / "tokenizer.json").read_text())
    change_tokenizer(tmp_path, added_tokens=[])
    assert "no end token: <|endoftext|> is not among its special tokens (none)" in refused(tmp_path)
    change_tokenizer(tmp_path, added_tokens=[{**stored["added_tokens"][0], "special": False}])
    assert "no end token" in refused(tmp_path)
    change_tokenizer(tmp_path, added_tokens=stored["added_tokens"], decoder=None)
    assert "a BPE with the decoder None, not a byte-level BPE" in refused(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    assert "not a tokenizer: JSONDecodeError" in refused(tmp_path)


def test_a_tokenizer_that_adds_or_loses_bytes_is_refused(tmp_path: Path) -> None:
    tokenizer_folder(tmp_path)
    change_tokenizer(tmp_path, pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True, "use_regex": True})
    with pytest.raises(DataError, match="not a tokenizer: missing field `trim_offsets`"):
        read_tokenizer(str(tmp_path), None).load()
    spaced = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    change_tokenizer(tmp_path, pre_tokenizer=spaced)
    tokeniser = Tokeniser(read_tokenizer(str(tmp_path), None))
    with pytest.raises(DataError, match="its tokens stand for 9 bytes of the 8 of a text, 'particle'; use one that"):
        tokeniser(["particle"])


def test_errors_of_a_process_are_passed_on(tmp_path: Path) -> None:
    tokenizer_folder(tmp_path)
    spaced = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    change_tokenizer(tmp_path, pre_tokenizer=spaced)
    with pytest.raises(DataError, match="stand for 9 bytes of the 8 of a text"):
        list(tokenise(iter([Documents(["particle"], {}, 1)]), read_tokenizer(str(tmp_path), None), 2))


def test_a_process_that_is_killed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []

    class Short(tokenising._Process):
        def __init__(self, tokenizer: LanguageTokenizer) -> None:
            super().__init__(tokenizer)
            begun.append(self._process)

        def tokens(self, texts: list[str]) -> tokenising.Tokens:
            self._process.kill()
            self._process.wait()
            return super().tokens(texts)

    monkeypatch.setattr(tokenising, "_Process", Short)
    documents = iter([Documents(["a"], {}, 1)])
    with pytest.raises(
        DataError, match=r"ended with status -9, perhaps for want of memory; .* data\.processes=<fewer>"
    ):
        list(tokenise(documents, read_tokenizer(tokenizer_folder(tmp_path), None), 2))
    assert all(process.poll() is not None for process in begun)


def test_processes_end_with_the_one_that_began_them(tmp_path: Path) -> None:
    program = f"""
import sys, time
sys.path[:0] = {sys.path!r}
from kiti.data.language.documents import Documents
from kiti.data.language.language_tokenizer import read_tokenizer
from kiti.data.language.tokenising import tokenise
def forever():
    while True:
        yield Documents(["a particle"], {{}}, 1)
for number, _ in enumerate(tokenise(forever(), read_tokenizer({tokenizer_folder(tmp_path)!r}, None), 2)):
    if number == 10:
        print("begun", flush=True)
"""
    mark = f"KITI_TEST_MARK={tmp_path}".encode()
    environment = os.environ | {"KITI_TEST_MARK": str(tmp_path)}
    first = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment)

    def running() -> int:
        found = 0
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                found += mark in path.read_bytes()
        return found

    try:
        assert first.stdout is not None
        assert first.stdout.readline() == b"begun\n"
        assert running() == 3
    finally:
        first.kill()
        first.wait()
    until = time.monotonic() + 60
    while running():
        assert time.monotonic() < until
        time.sleep(0.01)
