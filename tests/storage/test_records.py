"""A record is written completely or not at all, read strictly, and committed without machine-specific fields."""

import json
import math
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
from record_cases import make_record

from kiti.storage import records
from kiti.storage.divergence import Divergence
from kiti.storage.records import Curve, DamagedRecord, GitState, RecordError


def test_round_trip(tmp_path):
    record = make_record(ko={"soft/scale": 0.9})
    path = records.write(record, tmp_path / "burgers" / "0123456789ab" / "seed-0")
    assert path.name == "record.json"
    assert records.read(path) == record
    assert [entry.name for entry in path.parent.iterdir()] == ["record.json"]


def test_a_record_says_where_its_training_diverged(tmp_path):
    where = Divergence("the training loss", step=8, epoch=1, batch=3, samples=[5, 2, 9])
    record = make_record(state="diverged", divergence=where)
    assert records.read(records.write(record, tmp_path)) == record
    records.publish([record], tmp_path / "some.jsonl")
    [committed] = records.read_lines(tmp_path / "some.jsonl")
    assert committed.divergence == where
    assert str(where) == "the training loss was not finite at step 8, epoch 1, batch 3 (samples 5, 2, 9)"
    assert str(replace(where, samples=list(range(20)))).endswith("(samples 0, 1, 2, 3, 4 and 15 more)")
    assert str(replace(where, samples=None)).endswith("batch 3")
    assert "divergence" not in records.compact(make_record())


@pytest.mark.parametrize("lost", [math.nan, math.inf, -math.inf])
def test_a_diverged_metric_is_valid_json_and_reads_back_as_nan(tmp_path, lost):
    record = make_record(metrics={"test/mse": lost}, collisions={"m": {"energy_ratio": lost}}, peak_memory_mib=None)
    path = records.write(record, tmp_path)
    stored = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert stored["metrics"] == {"test/mse": None}
    back = records.read(path)
    assert math.isnan(back.metrics["test/mse"])
    assert math.isnan(back.collisions["m"]["energy_ratio"])
    json.loads(records.compact(record), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_a_writer_killed_before_the_rename_creates_no_record(tmp_path):
    killed = textwrap.dedent(
        f"""
        import os, signal
        from pathlib import Path
        from kiti.storage import records
        os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        records.write_whole(Path({str(tmp_path)!r}) / "record.json", b"x" * 100_000)
        """
    )
    assert subprocess.run([sys.executable, "-c", killed]).returncode == -9
    assert not list(tmp_path.rglob(records.FILE_NAME))
    records.write(make_record(), tmp_path)
    assert len(list(tmp_path.rglob(records.FILE_NAME))) == 1


def test_a_failing_writer_keeps_the_old_record(tmp_path, monkeypatch):
    path = records.write(make_record(), tmp_path)
    before = path.read_bytes()

    def no_space(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(records.os, "fsync", no_space)
    with pytest.raises(OSError, match="no space"):
        records.write(make_record(seed=5), tmp_path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def change(content, **changes):
    plain = json.loads(content) | changes
    return json.dumps({key: value for key, value in plain.items() if value is not ...})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[: len(content) // 2], "Invalid JSON"),
        (lambda content: "", "Invalid JSON"),
        (lambda content: "[]", "record"),
        (lambda content: change(content, metrics=...), "metrics: Field required"),
        (lambda content: change(content, schema=3), "schema 3, this kiti reads 2; use the kiti that wrote it"),
        (lambda content: change(content, schema=1), "schema 1, this kiti reads 2; scripts/migrate_records.py"),
        (lambda content: change(content, seed="first"), "seed: Input should be a valid integer"),
        (lambda content: change(content, extra=1), "extra"),
    ],
)
def test_an_invalid_record_is_named_in_one_line(tmp_path, damage, message):
    path = records.write(make_record(), tmp_path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(RecordError) as error:
        records.read(path)
    assert str(path) in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_every_changed_value_is_noticed(tmp_path):
    path = records.write(make_record(ko={"soft/scale": 0.9}), tmp_path)
    whole = path.read_text()
    changes = {
        "0.1": "0.2",
        '"seed": 0': '"seed": 1',
        '"dirty": false': '"dirty": true',
        "Some CPU": "Some GPU",
        "smoke": "paper",
    }
    for old, new in changes.items():
        assert old in whole
        path.write_text(whole.replace(old, new, 1))
        with pytest.raises(DamagedRecord, match="edited or damaged, its checksum differs"):
            records.read(path)
    path.write_text(json.dumps(json.loads(whole)))
    assert records.read(path).ko == {"soft/scale": 0.9}, "another layout of the same values"


def test_every_flipped_bit_is_noticed_or_harmless(tmp_path):
    record = make_record()
    path = records.write(record, tmp_path)
    whole = path.read_bytes()
    messages = []
    for byte in range(0, len(whole), 4):
        damaged = bytearray(whole)
        damaged[byte] ^= 1 << byte % 7
        path.write_bytes(damaged)
        try:
            assert records.read(path) == record
        except RecordError as error:
            messages.append(str(error))
    assert len(messages) > 0.8 * len(whole) / 4
    assert not [message for message in messages if "\n" in message]


def test_records_from_before_there_were_checksums_are_read(tmp_path):
    path = records.write(make_record(), tmp_path)
    plain = json.loads(path.read_text())
    assert len(plain.pop("checksum")) == 64
    path.write_text(json.dumps(plain))
    assert records.read(path) == make_record()


def test_committed_records_have_no_checksum(tmp_path):
    assert "checksum" not in json.loads(records.compact(make_record()))


def test_a_missing_record_is_named(tmp_path):
    with pytest.raises(RecordError, match=r"gone/record.json: No such file"):
        records.read(tmp_path / "gone" / "record.json")


def test_compact_hashes_the_diff_and_drops_local_fields():
    record = make_record(
        places=["data_dir=/home/me/data"],
        git=GitState(commit="c" * 40, dirty=True, diff="--- /home/me/x"),
        fingerprint={"data": "0123456789ab"},
        sources={"kiti.data.burgers": "ba9876543210"},
        curves={"train/loss": Curve([1, 2], [0.5, math.nan])},
    )
    line = records.compact(record)
    assert "/home/me" not in line
    assert "\n" not in line
    plain = json.loads(line)
    assert plain["git"]["diff"].startswith("sha256:")
    assert plain["fingerprint"] == {"data": "0123456789ab"}
    assert not {"sources", "places"} & set(plain)
    assert plain["curves"]["train/loss"]["values"] == [0.5, None]


def test_a_repeated_run_is_kept_beside_the_first(tmp_path):
    path = tmp_path / "burgers-smoke.jsonl"
    records.publish([make_record(), make_record(replicate="other machine")], path)
    assert [record.replicate for record in records.read_lines(path)] == [None, "other machine"]


def test_publishing_merges_by_configuration_and_seed(tmp_path):
    path = tmp_path / "records" / "burgers-smoke.jsonl"
    records.publish([make_record(seed=1), make_record(seed=0)], path)
    other = make_record(seed=0, config_hash="ba9876543210")
    newer = make_record(seed=1, metrics={"test/mse": 0.5})
    records.publish([other, newer], path)
    published = records.read_lines(path)
    assert [(r.config_hash, r.seed) for r in published] == [
        ("0123456789ab", 0),
        ("0123456789ab", 1),
        ("ba9876543210", 0),
    ]
    assert published[1].metrics == {"test/mse": 0.5}
    content = path.read_bytes()
    records.publish(published, path)
    assert path.read_bytes() == content


def test_published_records_are_read_back_and_newer_ones_win(tmp_path):
    path = tmp_path / "records" / "synthetic-paper.jsonl"
    together = [
        make_record(seed=seed, replicas=3, metrics={"test/mse": 0.1 * seed, "rho": math.nan, "same": 2.0})
        for seed in range(3)
    ]
    alone = make_record(seed=7)
    records.publish([*together, alone], path)
    assert path.read_text().splitlines() == [records.compact(record) for record in (*together, alone)]
    found = records.read_lines(path)
    assert [records.compact(record) for record in found] == [records.compact(r) for r in (*together, alone)]
    newer = make_record(seed=1, replicas=2, metrics={"test/mse": 9.0})
    records.publish([newer], path)
    assert [record.metrics["test/mse"] for record in records.read_lines(path)][1] == 9.0


def test_a_damaged_committed_line_is_named(tmp_path):
    path = tmp_path / "burgers.jsonl"
    path.write_text(records.compact(make_record()) + "\n\n{\n")
    with pytest.raises(RecordError, match=r"burgers.jsonl:3: .*restore the file from git"):
        records.read_lines(path)


def git(repo, *arguments):
    identity = ["-c", "user.name=n", "-c", "user.email=e@e"]
    subprocess.run(["git", "-C", str(repo), *identity, *arguments], check=True, capture_output=True)


def test_git_state(tmp_path):
    assert records.git_state(tmp_path).commit == "unknown"
    assert records.git_state(None).commit == "unknown"
    git(tmp_path, "init")
    (tmp_path / "a.txt").write_text("one\n")
    assert records.git_state(tmp_path) == GitState(commit="none", dirty=True, diff="?? a.txt\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    clean = records.git_state(tmp_path)
    assert (len(clean.commit), clean.dirty, clean.diff) == (40, False, "")
    (tmp_path / "unpacked").mkdir()
    assert records.git_state(tmp_path / "unpacked").commit == "unknown", "another repository"
    (tmp_path / "a.txt").write_text("two\n")
    (tmp_path / "b.txt").write_text("new\n")
    changed = records.git_state(tmp_path)
    assert changed.commit == clean.commit
    assert changed.dirty
    assert "-one\n+two\n" in changed.diff
    assert changed.diff.endswith("?? b.txt\n")


def test_package_versions():
    versions = records.package_versions(["pydantic", "no-such-package-here"])
    assert list(versions) == ["pydantic"]


def test_fields_can_be_replaced_but_not_modified_in_place():
    record = make_record()
    with pytest.raises(AttributeError):
        record.seed = 3
    assert replace(record, seed=3).seed == 3


def test_the_lock_is_identified_by_its_content(tmp_path):
    assert records.LOCK.is_file()
    path = tmp_path / "requirements.lock"
    assert records.lock_digest(path) is None
    path.write_bytes(b"torch==2.14.1\n")
    assert records.lock_digest(path) == "cb4c768c4b63"
