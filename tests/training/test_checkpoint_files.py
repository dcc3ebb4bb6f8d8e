"""A checkpoint belongs to its run: damaged or foreign files are set aside, and an earlier good one is used."""

import io
import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from run_cases import Killed, SaveAndKill, add_callback, same_result

from kiti.cli.train_command import train
from kiti.configuration.compose import Composed, compose
from kiti.training import building
from kiti.training.checkpoint_files import (
    LAST,
    PREVIOUS,
    CheckpointFiles,
    Identity,
    UnusableCheckpoint,
    to_resume,
    verify,
)

OWN = Identity("0123456789ab", {"data": 1, "model": 2}, seed=0, replicas=1)
STATE = {"weights": torch.arange(50.0), "step": 7}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    CheckpointFiles(OWN).save_checkpoint(STATE, tmp_path / LAST)
    return tmp_path / LAST


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_it_is_read_back_and_torch_and_zip_read_it_too(checkpoint: Path) -> None:
    verify(checkpoint, OWN)
    for loaded in (CheckpointFiles(OWN).load_checkpoint(checkpoint), torch.load(checkpoint, weights_only=True)):
        assert loaded["step"] == 7
        assert torch.equal(loaded["weights"], STATE["weights"])
    with zipfile.ZipFile(checkpoint) as archive:
        assert archive.testzip() is None
        assert b'"seed": 0' in archive.comment


def test_every_flipped_bit_is_noticed(checkpoint: Path) -> None:
    whole = checkpoint.read_bytes()
    for byte in (*range(0, len(whole), 3), *range(len(whole) - 400, len(whole))):  # another bit in each of them
        damaged = bytearray(whole)
        damaged[byte] ^= 1 << byte % 8
        checkpoint.write_bytes(damaged)
        with pytest.raises(UnusableCheckpoint):
            verify(checkpoint, OWN)
    checkpoint.write_bytes(whole)
    verify(checkpoint, OWN)


def test_every_truncation_is_noticed(checkpoint: Path) -> None:
    whole = checkpoint.read_bytes()
    for size in (0, 1, 63, 64, 71, 72, 100, *range(200, len(whole), 97), len(whole) - 1):
        checkpoint.write_bytes(whole[:size])
        with pytest.raises(UnusableCheckpoint):
            verify(checkpoint, OWN)
    checkpoint.write_bytes(whole + b"0")
    with pytest.raises(UnusableCheckpoint):
        verify(checkpoint, OWN)


def test_what_an_earlier_kiti_wrote_has_no_checksum(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / LAST)
    with pytest.raises(UnusableCheckpoint, match="has no checksum"):
        verify(tmp_path / LAST, OWN)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (replace(OWN, seed=1), "seed 0 instead of 1"),
        (replace(OWN, replicas=3), "replicas 1 instead of 3"),
        (replace(OWN, config_hash="ba9876543210"), "config_hash 0123456789ab instead of ba9876543210"),
        (replace(OWN, revisions={"data": 2, "model": 2}), "revisions {'data': 1"),
    ],
)
def test_another_runs_checkpoint_is_named(checkpoint: Path, other: Identity, named: str) -> None:
    with pytest.raises(UnusableCheckpoint, match="belongs to another run") as error:
        verify(checkpoint, other)
    assert named in str(error.value)
    assert "\n" not in str(error.value)


def steps(folder: Path) -> dict[str, int]:
    return {path.name: torch.load(path, weights_only=True)["step"] for path in sorted(folder.glob("*.ckpt"))}


def test_two_are_kept_or_one(tmp_path: Path) -> None:
    files = CheckpointFiles(OWN)
    for step in (1, 2, 3):
        files.save_checkpoint({"step": step}, tmp_path / LAST)
    assert steps(tmp_path) == {LAST: 3, PREVIOUS: 2}
    files.save_checkpoint({"step": 4}, tmp_path / LAST, {"keep": 1})
    assert steps(tmp_path) == {LAST: 4}
    assert [path.name for path in tmp_path.iterdir()] == [LAST]


def test_without_hard_links_two_are_kept_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*paths: Path) -> None:
        raise OSError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    for step in (1, 2, 3):
        CheckpointFiles(OWN).save_checkpoint({"step": step}, tmp_path / LAST)
    assert steps(tmp_path) == {LAST: 3, PREVIOUS: 2}


@pytest.mark.parametrize("at", ["save", "link", "replace", "second replace"])
def test_killed_while_saving_a_good_checkpoint_remains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    files = CheckpointFiles(OWN)
    for step in (1, 2):
        files.save_checkpoint({"step": step}, tmp_path / LAST)
    calls = []

    def die(*arguments: Any) -> None:
        calls.append(arguments)
        if at != "second replace" or len(calls) == 2:
            raise Killed
        os.rename(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(*{"save": (torch, "save"), "link": (os, "link")}.get(at, (os, "replace")), die)
        with pytest.raises(Killed):
            files.save_checkpoint({"step": 3}, tmp_path / LAST)
    assert steps(tmp_path)[LAST] == 2
    found = to_resume(tmp_path, OWN, pytest.fail)
    assert found == tmp_path / LAST
    files.save_checkpoint({"step": 3}, tmp_path / LAST)
    assert steps(tmp_path) == {LAST: 3, PREVIOUS: 2}


def test_a_damaged_one_is_set_aside_and_the_previous_one_used(tmp_path: Path) -> None:
    for step in (1, 2):
        CheckpointFiles(OWN).save_checkpoint({"step": step}, tmp_path / LAST)
    flip(tmp_path / LAST, 4000)
    damaged = (tmp_path / LAST).read_bytes()
    lines: list[str] = []
    assert to_resume(tmp_path, OWN, lines.append) == tmp_path / PREVIOUS
    aside = tmp_path / f"{LAST}.aside-0"
    assert lines == [f"{tmp_path / LAST} is damaged: its checksum differs; set aside as {aside}; trying previous.ckpt"]
    assert aside.read_bytes() == damaged
    CheckpointFiles(OWN).save_checkpoint({"step": 2}, tmp_path / LAST)
    assert steps(tmp_path) == {LAST: 2, PREVIOUS: 1}, "the good one is kept"


def test_without_a_good_one_it_begins_afresh(tmp_path: Path) -> None:
    (tmp_path / LAST).write_bytes(b"")
    (tmp_path / PREVIOUS).write_bytes(b"half")
    lines: list[str] = []
    assert to_resume(tmp_path, OWN, lines.append) is None
    assert lines[1].endswith("beginning afresh")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{LAST}.aside-0", f"{PREVIOUS}.aside-0"]
    assert to_resume(tmp_path, OWN, pytest.fail) is None


# Whole runs: 5 steps an epoch, 2 epochs.
RUN = ["experiment=burgers", "scale=smoke", "data.n_train=100", "trainer.max_epochs=2"]


def configured(place: Path, *overrides: str) -> Composed:
    saved = "callbacks.checkpointing.every_seconds=1e9"
    return compose([*RUN, saved, f"runs_dir={place}/runs", f"data_dir={place.parent}/data", *overrides])


class SaveTwiceAndKill(SaveAndKill):
    def on_train_batch_start(self, trainer: Trainer, *arguments: Any) -> None:
        if trainer.global_step in (2, 4):
            trainer.save_checkpoint(Path(trainer.default_root_dir) / LAST)


def killed(composed: Composed, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that saved before its steps 2 and 4 and was killed in step 6."""
    with monkeypatch.context() as patch:
        add_callback(patch, SaveTwiceAndKill(None, 6))
        with pytest.raises(Killed):
            train(composed)
    return composed.run_dir


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    composed = configured(tmp_path_factory.mktemp("uninterrupted"), "residual=kiti")
    train(composed)
    return composed.run_dir


def resumed_from(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Filled with the step of every checkpoint that is loaded."""
    found: list[int] = []
    load = CheckpointFiles.load_checkpoint

    def noted(self: CheckpointFiles, *arguments: Any, **options: Any) -> dict[str, Any]:
        found.append(load(self, *arguments, **options)["global_step"])
        return load(self, *arguments, **options)

    monkeypatch.setattr(CheckpointFiles, "load_checkpoint", noted)
    return found


def test_a_flipped_bit_changes_no_result(
    uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    composed = configured(tmp_path, "residual=kiti")
    run_dir = killed(composed, monkeypatch)
    content = (run_dir / LAST).read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:  # inside the largest tensor
        largest = max(archive.infolist(), key=lambda info: info.file_size)
    flip(run_dir / LAST, 8 * (largest.header_offset + largest.file_size // 2))
    loaded = resumed_from(monkeypatch)
    train(composed)
    same_result(run_dir, uninterrupted)
    assert loaded == [2]
    [line] = [line for line in capsys.readouterr().err.splitlines() if "set aside" in line]
    assert "last.ckpt is damaged: its checksum differs" in line
    assert (run_dir / f"{LAST}.aside-0").exists()


def test_another_seeds_checkpoint_is_not_used(
    uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = killed(configured(tmp_path, "residual=kiti", "seed=1"), monkeypatch)
    composed = configured(tmp_path, "residual=kiti")
    composed.run_dir.mkdir(parents=True)
    for name in (LAST, PREVIOUS):
        (composed.run_dir / name).write_bytes((other / name).read_bytes())
    loaded = resumed_from(monkeypatch)
    train(composed)
    same_result(composed.run_dir, uninterrupted)
    assert loaded == []
    assert capsys.readouterr().err.count("belongs to another run (seed 1 instead of 0)") == 2


def test_one_of_three_side_by_side_seeds_resumed_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def of(*overrides: str) -> Composed:
        places = [f"runs_dir={tmp_path}/runs", f"data_dir={tmp_path}/data"]
        all_points = ["data.batch_size=16", "trainer.max_epochs=8"]  # which seeds need to be trained together
        return compose(["experiment=condensation_fc", "scale=smoke", *all_points, *places, *overrides])

    with monkeypatch.context() as patch:
        add_callback(patch, SaveTwiceAndKill(None, 6))
        with pytest.raises(Killed):
            train(of("replicas=3"))
    loaded = resumed_from(monkeypatch)
    train(of())
    assert loaded == []
    assert "(replicas 3 instead of 1)" in capsys.readouterr().err
    assert (of().run_dir / "record.json").exists()


def test_a_truncated_checkpoint_does_not_block_the_run(
    uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    composed = configured(tmp_path, "residual=kiti", "callbacks.checkpointing.keep=1")
    run_dir = killed(composed, monkeypatch)
    (run_dir / PREVIOUS).unlink()
    os.truncate(run_dir / LAST, (run_dir / LAST).stat().st_size // 2)
    train(composed)
    same_result(run_dir, uninterrupted)
    assert "beginning afresh" in capsys.readouterr().err
    assert not (run_dir / PREVIOUS).exists(), "keep=1"


def test_the_identity_is_the_runs(tmp_path: Path) -> None:
    composed = configured(tmp_path)
    [files] = [plugin for plugin in [building.trainer(composed).strategy.checkpoint_io] if plugin]
    assert files.identity == Identity.of(composed)
    assert files.identity.config_hash == composed.hash
    assert configured(tmp_path, "callbacks.checkpointing.keep=1").hash == composed.hash
