"""What the hash and a record contain: names, roles, revisions."""

import pytest

from kiti.collision.rules import Rules
from kiti.configuration import identity
from kiti.configuration.compose import compose
from kiti.data.burgers_keys import BurgersKeys
from kiti.tasks.operator_learning_keys import OperatorLearningKeys

RUN = ["experiment=burgers", "scale=smoke", "residual=kiti"]


def test_no_import_path_is_hashed_or_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    composed = compose(RUN)
    assert "kiti." not in str(composed.config)
    assert composed.config["data"]["unit"] == "burgers"
    before = composed.hash
    monkeypatch.setattr(BurgersKeys, "name", "other")
    assert compose(RUN).hash != before


@pytest.mark.parametrize(
    ("of", "counted", "under"),
    [
        (BurgersKeys, "revision", "data"),
        (OperatorLearningKeys, "revision", "task"),
        (OperatorLearningKeys, "evaluation", "task.evaluation"),
        (Rules, "revision", "residual.collide"),
    ],
)
def test_a_revision_changes_the_hash(of: type, counted: str, under: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, vanilla = compose(RUN), compose(RUN[:2])
    assert identity.revisions(before.checked)[under] == 1
    hashes = before.hash, vanilla.hash
    monkeypatch.setattr(of, counted, 2)
    after, of_vanilla = compose(RUN), compose(RUN[:2])
    assert identity.revisions(after.checked)[under] == 2
    assert after.hash != hashes[0]
    assert (of_vanilla.hash == hashes[1]) == (of is Rules), "a network without collisions has no collision revision"


def test_what_a_record_omits() -> None:
    config = compose([*RUN, "seed=3", "data_dir=/home/me", "runs_dir=/home/you"]).config
    assert not {"seed", "replicas", "runs_dir", "data_dir"} & set(config)
    assert not {"seed", "data_dir"} & set(config["data"])
    assert "/home" not in str(config)
    assert config["residual"]["implementation"] == "auto", "recorded, though it is not hashed"


def test_overrides_of_paths_are_kept_apart() -> None:
    checked = compose(RUN).checked
    places = ["data_dir=/home/me", "+runs_dir=/home/me", "data.data_dir=/home/me"]
    kept = identity.split_overrides(checked, [*RUN, *places, "seed=2", "data.seed=1"])
    assert kept == ([*RUN, "seed=2", "data.seed=1"], places)


@pytest.mark.parametrize("experiment", ["burgers", "navier_stokes", "heat"])
def test_the_hash_has_how_data_are_drawn_but_for_runs_that_are_older_than_the_key(experiment: str) -> None:
    run = [f"experiment={experiment}", "scale=smoke"]
    fixed, drawn = compose(run), compose([*run, "data.draw=per_seed"])
    assert fixed.hash != drawn.hash
    today = identity.revisions(fixed.checked)
    older = {**fixed.config, "data": {key: value for key, value in fixed.config["data"].items() if key != "draw"}}
    assert identity.hash_of(older, today) == fixed.hash
    assert identity.hash_of(drawn.config, today) == drawn.hash
