"""A trained BPE is a function of its documents, and what is written is what transformers reads."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from kiti.configuration.locations import working_root
from kiti.data.language.bpe import END, bpe_of, save, share, tokenizer_sha256, train_bpe
from kiti.data.language.language_stand_ins import is_complete, missing, place

WORDS = ("rather", "window", "letter", "minute", "pencil", "garden")
TEXTS = [f"the {word} of the {other} is {word}ed again and again" for word in WORDS for other in WORDS]
STRANGE = "héllo  wörld\n\t你好 🙂\x00 <|end|> ‮ a​b"


def test_training_twice_gives_the_same(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save(train_bpe(TEXTS, 300), tmp_path / name)
    assert (tmp_path / "one/tokenizer.json").read_bytes() == (tmp_path / "two/tokenizer.json").read_bytes()
    save(train_bpe([*TEXTS, "other words", "other words"], 300), tmp_path / "three")
    sums = [tokenizer_sha256(tmp_path / name) for name in ("one", "two", "three")]
    assert sums[0] is not None
    assert sums[0] == sums[1] != sums[2]


def test_transformers_reads_it(tmp_path: Path) -> None:
    save(train_bpe(TEXTS, 300), tmp_path / "bpe", positions=64)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "bpe")
    assert len(tokenizer) == tokenizer.vocab_size == 300
    assert (tokenizer.eos_token, tokenizer.eos_token_id, tokenizer.model_max_length) == (END, 0, 64)
    assert len(tokenizer(" the again").input_ids) == 2
    for text in (*TEXTS, STRANGE, ""):
        ids = tokenizer(text).input_ids
        assert tokenizer.decode(ids) == text
        assert 0 not in ids
    assert tokenizer(f"the{END}").input_ids[-1] == 0


def test_given_pieces_keep_their_ids(tmp_path: Path) -> None:
    """GPT-2's first merges, with its own ids."""
    pieces = {" ": 220, "t": 83, "h": 71, "e": 68, " t": 256, "he": 258, " the": 262, END: 50256}
    vocabulary = {piece.replace(" ", "Ġ"): number for piece, number in pieces.items()}
    save(bpe_of(vocabulary, [("Ġ", "t"), ("h", "e"), ("Ġt", "he")]), tmp_path / "some")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "some")
    assert tokenizer(f" the the{END}het").input_ids == [262, 262, 50256, 258, 83]
    assert tokenizer.eos_token_id == 50256


@pytest.mark.skipif(
    missing(working_root() / "data", "gpt2-tokenizer") is not None,
    reason=f"{missing(working_root() / 'data', 'gpt2-tokenizer')}",
)
def test_gpt2s_own_tokenizer_gives_its_known_ids() -> None:
    """As OpenAI's encoder gives them."""
    data = working_root() / "data"
    assert is_complete(data, "gpt2-tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(place(data, "gpt2-tokenizer"))
    known = {
        "Hello world": [15496, 995],
        " the": [262],
        "Hello, my dog is cute": [15496, 11, 616, 3290, 318, 13779],
        END: [50256],
    }
    assert {text: tokenizer(text).input_ids for text in known} == known
    assert len(tokenizer) == 50257
    assert tokenizer.decode(tokenizer(STRANGE).input_ids) == STRANGE


def test_too_few_documents_are_one_line() -> None:
    with pytest.raises(ValueError, match="the documents have 259 pieces, not 300"):
        train_bpe(["aa aa"], 300)


@pytest.mark.parametrize("damage", ["tokenizer.json", "tokenizer_config.json"])
def test_damaged_files_have_no_sum(tmp_path: Path, damage: str) -> None:
    save(train_bpe(TEXTS, 280), tmp_path / "bpe")
    path = tmp_path / "bpe" / damage
    path.write_text(path.read_text()[:-20])
    assert tokenizer_sha256(tmp_path / "bpe") is None
    path.unlink()
    assert tokenizer_sha256(tmp_path / "bpe") is None


def test_corpora_are_shared_by_weight() -> None:
    texts = {
        "web": [f"w{i:03}" + "é" * 48 for i in range(70)],
        "code": [f"c{i:03}" + "é" * 48 for i in range(300)],
        "mathematics": [f"m{i:03}" + "é" * 48 for i in range(15)],
    }
    weights = {"web": 0.7, "code": 0.15, "mathematics": 0.15}
    taken = share(texts, weights)
    assert sorted(text[0] for text in taken) == ["c"] * 15 + ["m"] * 15 + ["w"] * 70
    assert taken == share({name: part[::-1] for name, part in texts.items()}, weights)
    assert {text for text in taken if text[0] == "c"} != set(texts["code"][:15])
