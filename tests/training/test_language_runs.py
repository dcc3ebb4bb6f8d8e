"""Runs of language models from command to record at scale=smoke: stopped and resumed, evaluated, continued."""

from pathlib import Path

import language_sets
import pytest
from run_cases import Killed, SaveAndKill, add_callback, same_result
from safetensors.torch import load_file

from kiti.cli.evaluate_command import evaluate
from kiti.cli.train_command import train
from kiti.configuration.compose import Composed, check_files, compose
from kiti.configuration.explain import ConfigError
from kiti.storage import records
from kiti.storage.weights_file import WEIGHTS
from kiti.training import building


def configured(place: Path, experiment: str, files: Path, *more: str) -> Composed:
    run = [f"experiment={experiment}", "scale=smoke", "residual=kiti", "collision=soft"]
    given = {each.partition("=")[0] for each in more}
    run += [each for each in language_sets.prepared(experiment, files) if each.partition("=")[0] not in given]
    return compose([*run, "callbacks.checkpointing.every_seconds=1e9", f"runs_dir={place}", *more])


@pytest.fixture(scope="module", params=["gpt2_stand_ins", "qwen2_stand_ins"])
def uninterrupted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, Composed]:
    """Its name, the folder of its files, and an uninterrupted run."""
    place = tmp_path_factory.mktemp(request.param)
    composed = configured(place / "runs", request.param, place)
    train(composed)
    return request.param, place, composed


def test_what_a_run_writes(uninterrupted: tuple[str, Path, Composed]) -> None:
    _name, _files, composed = uninterrupted
    record = records.read(composed.run_dir / records.FILE_NAME)
    assert record.collisions
    assert record.ko
    assert record.flops_per_sample > 0
    assert record.state == "finished"
    assert {"test/loss", "test/bits_per_byte", "test/perplexity", "train/loss"} <= record.metrics.keys()
    assert [name for name in record.metrics if "@" in name] == ["val/loss@2", "val/loss@4"]
    assert record.metrics["train/tokens_per_step"] == 8 * 16
    assert record.metrics["train/unlabelled_batches"] == 0
    assert "lm_head.weight" not in load_file(composed.run_dir / WEIGHTS)
    assert "python_manual_train_tokens" in record.counts


def test_evaluating_a_finished_run_gives_the_same_loss(uninterrupted: tuple[str, Path, Composed]) -> None:
    _name, _files, composed = uninterrupted
    record = records.read(composed.run_dir / records.FILE_NAME)
    again = evaluate(composed, record, composed.run_dir)
    assert again["test/loss"] == pytest.approx(record.metrics["test/loss"], rel=1e-5)


# Four steps, with a validation after the second.
@pytest.mark.parametrize(("save", "kill"), [(1, 2), (2, 3), (3, 3)])
def test_a_stopped_run_resumes_to_the_same_bits(
    uninterrupted: tuple[str, Path, Composed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: int, kill: int
) -> None:
    name, files, expected = uninterrupted
    composed = configured(tmp_path, name, files)
    with monkeypatch.context() as patched:
        add_callback(patched, SaveAndKill(save, kill))
        with pytest.raises(Killed):
            train(composed)
    train(composed)
    same_result(composed.run_dir, expected.run_dir)


def test_a_run_continues_from_another(tmp_path: Path) -> None:
    first = configured(tmp_path / "runs", "gpt2_stand_ins", tmp_path)
    start = f"gpt2_stand_ins/{first.hash}"
    path = ["model.path=${runs_dir}/${model.from_run}/seed-${seed}", f"model.from_run={start}"]
    second = configured(tmp_path / "runs", "gpt2_stand_ins", tmp_path, *path, "optimizer.lr=1e-9")
    with pytest.raises(ConfigError, match=rf"model.from_run={start}: there is no finished run .*; train it first"):
        check_files(second)
    train(first)
    check_files(second)
    begun, ended = building.model(second).state_dict(), load_file(first.run_dir / WEIGHTS)
    assert all((begun[name] == tensor).all() for name, tensor in ended.items())
    train(second)
    losses = [records.read(run.run_dir / records.FILE_NAME).metrics["test/loss"] for run in (first, second)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-3)
    assert second.hash != first.hash
