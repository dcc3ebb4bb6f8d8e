"""What is known of a mixture without reading it, and what is refused in one line."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from language_cases import texts, tokenizer_folder, write_jsonl

from kiti.configuration import identity
from kiti.configuration.compose import Composed, compose
from kiti.configuration.explain import ConfigError
from kiti.data import DataError
from kiti.data.language.language_stand_ins import CORPORA
from kiti.units.sample_shapes import Entry, Sizes

STAND_INS = ["experiment=gpt2_stand_ins", "scale=paper"]
ON_HUB = ["experiment=gpt2_pretrain", "scale=paper"]
NAMES = ("fineweb_edu", "megamath", "opencoder")
COMMITS = [f"data.corpora.{name}.commit={'0' * 40}" for name in NAMES]


def complaint(overrides: list[str]) -> str:
    with pytest.raises(ConfigError) as error:
        compose(overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


def of_stand_ins(root: Path, *overrides: str) -> Composed:
    return compose([*STAND_INS, f"data_dir={root}", f"data.tokenizer={root}/tokenizer", *overrides])


def test_a_plan_knows_the_number_of_blocks() -> None:
    data = compose(
        [*STAND_INS, "data.tokens=2500000", "data.validation_tokens=100000", "trainer.val_check_interval=null"]
    ).checked.data
    assert data.sizes() == Sizes(19531, 781, 781, validates=True)
    assert data.batches_per_epoch == 611
    assert data.sample(training=True) == (Entry((128,), "int64"),) * 3


def test_the_stand_ins_have_the_proportions_of_the_mixture() -> None:
    weights = compose([*ON_HUB, *COMMITS]).checked.data.weights
    assert weights == {"fineweb_edu": 0.7, "megamath": 0.15, "opencoder": 0.15}
    assert compose(STAND_INS).checked.data.weights == {name: corpus.weight for name, corpus in CORPORA.items()}


def test_commits_have_no_default() -> None:
    named = ", ".join(f"data.corpora.{name}.commit" for name in NAMES)
    values = " ".join(f"data.corpora.{name}.commit=<value>" for name in NAMES)
    assert complaint(ON_HUB) == f"{named}: missing; give them as {values}"
    assert compose(ON_HUB, any_commit=True).checked.data.sizes()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.corpora.set_mm.weight=-1", "data.corpora.set_mm.weight=-1: input should be greater than or equal to 0"),
        ("data.corpora.set_mm.weight=nan", "data.corpora.set_mm.weight=nan: "),
        ("data.corpora.set_mm.weight=inf", "data.corpora.set_mm.weight=inf: must be finite"),
        (
            "data.corpora.set_mm.weight=1e-9",
            "corpora.set_mm.weight=1e-09: its share of tokens=2498560 is less than a b",
        ),
        ("data.corpora.set_mm.path=null", "data.corpora.set_mm: no documents; give path=<file or folder>, or reposito"),
        ("data.context=129", "data.context=129 is more than the 128 positions of the model"),
        ("data.tokens=100", "data: tokens=100 is less than a block, context=128"),
        ("data.documents=mixed", "data.documents=mixed: input should be 'joined' or 'isolated'"),
        ("data.tokenizer_commit=main", "data.tokenizer_commit=main: "),
    ],
)
def test_errors_are_reported_in_one_line(override: str, message: str) -> None:
    assert message in complaint([*STAND_INS, override])


def test_weights_that_sum_to_nothing_are_one_line() -> None:
    line = complaint([*STAND_INS, *(f"data.corpora.{name}.weight=0" for name in CORPORA)])
    assert "the weights of the corpora have no positive sum; give one of them a positive weight" in line


def test_where_files_lie_is_no_part_of_the_hash(tmp_path: Path) -> None:
    base = compose(STAND_INS)
    elsewhere = compose([*STAND_INS, f"data_dir={tmp_path}", f"data.corpora.set_mm.path={tmp_path}", "data.workers=2"])
    assert elsewhere.hash == base.hash
    assert elsewhere.config == base.config
    for override in ("data.corpora.set_mm.weight=0.2", "data.documents=isolated", "data.context=64"):
        assert compose([*STAND_INS, override]).hash != base.hash
    assert compose([*ON_HUB, *COMMITS]).hash != compose([*ON_HUB, *COMMITS[1:], f"{COMMITS[0][:-1]}1"]).hash


@pytest.mark.parametrize("overrides", [STAND_INS, [*ON_HUB, *COMMITS]], ids=["local", "hub"])
def test_a_record_has_the_same_hash(overrides: list[str]) -> None:
    composed = compose(overrides)
    assert identity.hash_of(composed.config, identity.revisions(composed.checked)) == composed.hash
    assert "path" not in str(composed.config["data"]["corpora"])


def test_overrides_of_paths_are_kept_apart() -> None:
    overrides = ["data.corpora.set_mm.path=/a", "data.corpora.set_mm.weight=0.2"]
    composed = compose([*STAND_INS, *overrides])
    assert identity.split_overrides(composed.checked, overrides) == ([overrides[1]], [overrides[0]])


def test_missing_stand_ins_name_their_script(tmp_path: Path) -> None:
    data = of_stand_ins(tmp_path).checked.data
    with pytest.raises(DataError, match=r"tokenizer/tokenizer\.json is missing; give data\.tokenizer=.*language_stand"):
        data.require()
    tokenizer_folder(tmp_path / "tokenizer")
    with pytest.raises(DataError) as error:
        data.require()
    assert str(error.value).startswith(f"{tmp_path}/corpora/python_manual")
    assert f"is missing; scripts/fetch_language_stand_ins.py {tmp_path}" in str(error.value)
    for name in CORPORA:
        write_jsonl(tmp_path / "corpora" / name / "documents.jsonl", texts(3))
    data.require()


def test_ids_without_a_row_are_one_line(tmp_path: Path) -> None:
    tokenizer_folder(tmp_path / "tokenizer")
    data = of_stand_ins(tmp_path, "model.vocab_size=299").checked.data
    with pytest.raises(DataError, match="has tokens up to 299, but the model's embedding has 299 rows"):
        data.require()


def test_a_batch_that_ranks_cannot_share_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(DataError, match=r"data\.batch_size=32: 3 processes cannot share it; give a multiple"):
        of_stand_ins(tmp_path).checked.data.require()


REQUIRE = """
import sys
sys.path[:0] = {path!r}
from kiti.configuration.compose import compose
from kiti.data import DataError
data = compose({overrides!r}).checked.data
try:
    data.require()
except DataError as error:
    print(error)
print("torch" in sys.modules)
"""


def test_a_hub_that_refuses_is_one_line_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port.getsockname()[1]}")
        tokenizer = tokenizer_folder(tmp_path / "tokenizer")
        overrides = [*ON_HUB, *COMMITS, f"data_dir={tmp_path}", f"data.tokenizer={tokenizer}"]
        program = REQUIRE.format(path=sys.path, overrides=overrides)
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    line, torch = done.stdout.splitlines()
    assert line.startswith("HuggingFaceFW/fineweb-edu at 000000000000: http://127.0.0.1:")
    assert torch == "False"
