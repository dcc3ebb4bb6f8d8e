"""A record in a run's directory is used only if that run wrote it."""

from dataclasses import replace
from pathlib import Path

import pytest
from record_cases import make_record

from kiti.cli.train_command import has_finished
from kiti.configuration import identity
from kiti.configuration.compose import Composed, compose
from kiti.configuration.own_record import is_done, own_record, require_own_hash
from kiti.storage import records
from kiti.storage.records import DamagedRecord, Record
from kiti.storage.weights_file import WEIGHTS, sha256

ROOT = Path(__file__).parents[2]
RUN = ["experiment=burgers", "scale=smoke", "residual=kiti"]


def configured(place: Path, *overrides: str) -> Composed:
    return compose([*RUN, f"runs_dir={place}/runs", *overrides])


def record_of(composed: Composed, **changes: object) -> Record:
    revisions = identity.revisions(composed.checked)
    known = {"config_hash": composed.hash, "config": composed.config, "revisions": revisions}
    return make_record(composed.seed, **known | changes)


@pytest.mark.parametrize("path", sorted(ROOT.glob("experiments/*/records/*.jsonl")), ids=lambda path: path.stem)
def test_every_committed_record_has_the_hash_of_its_configuration(path: Path) -> None:
    for record in records.read_lines(path):
        require_own_hash(record, path)


@pytest.mark.parametrize("switches", [(), ("collision=hard", "averaging=ema"), ("residual=noise", "collision=soft")])
def test_the_hash_follows_from_what_is_recorded(switches: tuple[str, ...]) -> None:
    composed = compose([*RUN, *switches])
    assert identity.hash_of(composed.config, identity.revisions(composed.checked)) == composed.hash


def test_its_own_record_is_used(tmp_path: Path) -> None:
    composed = configured(tmp_path)
    assert own_record(composed, 0) is None
    assert not is_done(composed, 0)
    record = record_of(composed)
    records.write(record, composed.run_dir)
    assert own_record(composed, 0) == record
    assert is_done(composed, 0)
    assert not is_done(composed, 1)


def edited(record: Record, composed: Composed) -> dict[str, Record]:
    data = record.config["data"]
    return {
        "belongs to burgers, seed 1": replace(record, seed=1),
        "belongs to heat, seed 0": replace(record, experiment="heat"),
        "belongs to configuration 0123456789ab": replace(record, config_hash="0123456789ab"),
        "edited: its configuration and revisions": replace(record, config=record.config | {"data": data | {"grid": 3}}),
        "edited: its configuration and revisions ": replace(record, revisions=record.revisions | {"model": 9}),
        "no unit is named 'gone'": replace(record, config=record.config | {"data": data | {"unit": "gone"}}),
        "its configuration is damaged": replace(record, config={}),
    }


def test_others_are_named_and_set_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    composed = configured(tmp_path)
    path = composed.run_dir / records.FILE_NAME
    for number, (reason, foreign) in enumerate(edited(record_of(composed), composed).items()):
        records.write(foreign, composed.run_dir)
        with pytest.raises(DamagedRecord, match=reason.strip()):
            own_record(composed, 0)
        assert not is_done(composed, 0)
        written = path.read_bytes()
        assert not has_finished(composed, 0)
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith(f"kiti-train: record {path}: {reason.strip()}")
        assert path.with_name(f"record.json.aside-{number}").read_bytes() == written
        assert not path.exists()


@pytest.mark.parametrize("content", [b"", b'{"schema": 2, "exp', b"\xff\xfe\x00", b"[]"])
def test_a_broken_record_is_set_aside(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    composed = configured(tmp_path)
    path = composed.run_dir / records.FILE_NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert not has_finished(composed, 0)
    assert not path.exists()
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_damaged_weights_are_set_aside_with_their_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    composed = configured(tmp_path)
    weights = composed.run_dir / WEIGHTS
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    records.write(record_of(composed, weights=sha256(weights)), composed.run_dir)
    assert has_finished(composed, 0)
    weights.write_bytes(b"weighte")
    assert not has_finished(composed, 0)
    assert sorted(path.name for path in weights.parent.iterdir()) == [
        "record.json.aside-0",
        "weights.safetensors.aside-0",
    ]
    [line] = capsys.readouterr().err.splitlines()
    assert "their checksum is not the record's" in line


def test_without_weights_a_run_is_still_finished(tmp_path: Path) -> None:
    composed = configured(tmp_path)
    records.write(record_of(composed, weights="0" * 64), composed.run_dir)
    assert has_finished(composed, 0)
