"""Evaluating while a run trains: its curves get the metrics, and nothing else changes."""

import math
from collections.abc import Iterator
from pathlib import Path

import evaluation_cases
import pytest
import tiny_language
import torch
from safetensors.torch import load_file

from kiti.cli.train_command import train
from kiti.configuration.compose import Composed, compose
from kiti.configuration.explain import ConfigError
from kiti.evaluation import kept_results
from kiti.storage import records
from kiti.storage.weights_file import WEIGHTS
from kiti.units import plugins

TASKS = "callbacks.benchmarks.tasks=[stand_in_piqa,stand_in_perplexity_sums]"


@pytest.fixture(scope="module")
def enabled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("language")
    evaluation_cases.tokenizer().save_pretrained(place / "tokenizer")
    evaluation_cases.write_data(place / "data")
    path = tiny_language.write_conf(place / "plugin", place / "tokenizer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(plugins.VARIABLE, str(path))
        yield place


def configured(place: Path, name: str, *overrides: str) -> Composed:
    places = [f"runs_dir={place}/{name}", f"data_dir={place}/data", "callbacks.checkpointing.every_seconds=1e9"]
    return compose(["experiment=tiny_language", "residual=kiti", *places, *overrides])


def test_a_run_with_evaluations_ends_on_the_bits_of_one_without(enabled: Path) -> None:
    plain, evaluated = (
        configured(enabled, "plain"),
        configured(enabled, "evaluated", TASKS, "callbacks.benchmarks.every_steps=5", "callbacks.benchmarks.limit=6"),
    )
    assert plain.hash == evaluated.hash
    for composed in (plain, evaluated):
        train(composed)
    weights = [load_file(composed.run_dir / WEIGHTS) for composed in (plain, evaluated)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    metrics = [records.read(composed.run_dir / records.FILE_NAME).metrics for composed in (plain, evaluated)]
    assert {name: metrics[1][name] for name in metrics[0]} == metrics[0]
    tasks = {name.partition("/")[0] for name in metrics[1].keys() - metrics[0].keys()}
    assert tasks == {"stand_in_piqa", "stand_in_perplexity_sums"}
    assert kept_results.latest(evaluated.run_dir).keys() == tasks
    record = records.read(evaluated.run_dir / records.FILE_NAME)
    found = {name: curve for name, curve in (record.curves or {}).items() if name.startswith("benchmarks/")}
    assert found.keys() == {
        "benchmarks/stand_in_piqa/acc",
        "benchmarks/stand_in_piqa/acc_norm",
        "benchmarks/stand_in_piqa/chance_bound",
        "benchmarks/stand_in_perplexity_sums/perplexity_of_tokens",
        "benchmarks/stand_in_perplexity_sums/mean_perplexity_of_items",
    }
    for curve in found.values():
        assert curve.steps == [5, 10]
        assert all(map(math.isfinite, curve.values))
    assert len(set(found["benchmarks/stand_in_perplexity_sums/perplexity_of_tokens"].values)) == 2
    assert "data_dir" not in record.config["callbacks"]["benchmarks"]


def test_an_unknown_task_ends_the_run_before_it_begins(enabled: Path) -> None:
    composed = configured(enabled, "unknown", "callbacks.benchmarks.tasks=[stand_in_piq]")
    with pytest.raises(Exception, match="no task 'stand_in_piq'; close: stand_in_piqa"):
        train(composed)
    assert not (composed.run_dir / "last.ckpt").exists()


def test_a_model_of_another_kind_is_refused(tmp_path: Path, enabled: Path) -> None:
    composed = compose(["experiment=burgers", "scale=smoke", f"runs_dir={tmp_path}", f"data_dir={enabled}/data", TASKS])
    with pytest.raises(ValueError, match="only language models of transformers"):
        train(composed)


def test_keys_are_checked(enabled: Path) -> None:
    with pytest.raises(ConfigError, match="every_steps=0"):
        configured(enabled, "wrong", "callbacks.benchmarks.every_steps=0")
