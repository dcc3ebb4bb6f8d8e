"""A record is composed as it was recorded, whatever conf/ says today."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from record_cases import make_record

from kiti.configuration import identity, recorded_run
from kiti.configuration.compose import compose
from kiti.configuration.explain import ConfigError
from kiti.configuration.locations import CONF
from kiti.configuration.recorded_run import changed_revisions, compose_recorded
from kiti.storage.records import Record


def record_of(*overrides: str, **changes: object) -> Record:
    composed = compose([*overrides])
    known = {
        "experiment": composed.experiment,
        "scale": composed.scale,
        "config_hash": composed.hash,
        "config": composed.config,
        "revisions": identity.revisions(composed.checked),
    }
    return make_record(composed.seed, **known | changes)


@pytest.fixture
def changed_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of conf/ that commands use."""
    shutil.copytree(CONF, tmp_path / "conf")
    monkeypatch.setattr(recorded_run, "CONF", tmp_path / "conf")
    return tmp_path / "conf"


BURGERS = ("experiment=burgers", "scale=smoke", "residual=kiti", "collision=soft", "averaging=ema", "seed=3")


@pytest.mark.parametrize(
    "overrides",
    [BURGERS, ("experiment=imagenet_resnet50", "scale=smoke"), ("experiment=condensation_fc", "scale=smoke", "seed=5")],
)
def test_it_has_the_recorded_hash(overrides: Sequence[str]) -> None:
    record = record_of(*overrides)
    composed = compose_recorded(record)
    assert composed.hash == record.config_hash
    assert (composed.seed, composed.scale, composed.experiment) == (record.seed, record.scale, record.experiment)
    assert composed.checked.data.seed == record.seed
    assert changed_revisions(record, composed) == ""


def test_what_changed_in_conf_since_does_not_matter(changed_conf: Path) -> None:
    record = record_of(*BURGERS)
    shutil.rmtree(changed_conf / "experiment")
    options = changed_conf / "data" / "burgers.yaml"
    text = options.read_text()
    assert "batch_size: 20" in text
    options.write_text(text.replace("batch_size: 20", "batch_size: 7"))
    (changed_conf / "model" / "fno1d.yaml").rename(changed_conf / "model" / "renamed.yaml")
    assert compose_recorded(record).hash == record.config_hash


def test_overrides_come_on_top() -> None:
    record = record_of(*BURGERS, places=["data_dir=/recorded/data"])
    composed = compose_recorded(record, ["data.n_test=7", "trainer.accelerator=cpu", "averaging=none"])
    assert composed.checked.data.n_test == 7
    assert composed.checked.data.data_dir == "/recorded/data"
    assert composed.config["averaging"] == {}
    elsewhere = compose_recorded(record, ["data_dir=/here"])
    assert elsewhere.checked.data.data_dir == "/here"
    assert elsewhere.hash == record.config_hash


def test_revisions_that_changed_are_named() -> None:
    record = record_of(*BURGERS)
    older = replace(record, revisions=record.revisions | {"residual": 1})
    assert "residual: 1, today 2" in changed_revisions(older, compose_recorded(older))


def with_data(record: Record, **changes: object) -> Record:
    return replace(record, config=record.config | {"data": record.config["data"] | changes})


@pytest.mark.parametrize(
    ("change", "overrides", "message"),
    [
        (lambda record: with_data(record, unit="gone"), [], "data: no unit is named 'gone' today"),
        (lambda record: with_data(record, gone=1), [], "data.gone: kiti does not offer this key"),
        (lambda record: with_data(record, n_test=-1), [], "data.n_test=-1: "),
        (lambda record: replace(record, config={"data": record.config["data"]}), [], "configuration is incomplete"),
        (lambda record: record, ["data.n_tset=3"], "data.n_tset: no such key; close: data.n_test"),
        (lambda record: record, ["scale=paper"], "scale=paper: the record's own is used"),
        (lambda record: record, ["~data.n_test"], "only changes are possible"),
        (lambda record: record, ["data=nosuch"], "nosuch"),
        (lambda record: record, ["data.n_test=[1"], ""),
    ],
)
def test_what_does_not_fit_is_one_line(change, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose_recorded(change(record_of(*BURGERS)), overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
