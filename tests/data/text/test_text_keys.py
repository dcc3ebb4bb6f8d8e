"""What is known of sets of texts without reading them, and what is refused in one line."""

from pathlib import Path

import pytest
from text_cases import COMMIT, REVIEWS, write

from kiti.configuration.compose import compose
from kiti.configuration.explain import ConfigError
from kiti.data import DataError
from kiti.planning.meta_step import Steps
from kiti.units.sample_shapes import Entry, Sizes

IMDB = ["experiment=bert_imdb", "scale=smoke", "model=minilm", f"data.commit={COMMIT}"]


def test_a_plan_knows_the_sizes_and_the_greatest_length() -> None:
    whole = ["data.n_train=null", "data.n_validation=null"]
    data = compose([*IMDB, *whole, "data.max_length=512"]).checked.data
    assert data.sizes() == Sizes(25_000, 25_000, 25_000, validates=True)
    assert data.sample(training=True) == (*(Entry((512,), "int64") for _ in range(3)), Entry((), "int64"))
    held = compose([*IMDB, "data.n_train=null", "data.n_validation=5000", "data.test_on=validation"]).checked.data
    assert held.sizes() == Sizes(20_000, 5_000, 5_000, validates=True)
    reviews = compose(["experiment=bert_movie_reviews", "scale=smoke", *whole]).checked.data
    assert reviews.sizes() == Sizes(8461, 1065, 1065, validates=True)


def test_a_step_is_planned_without_data() -> None:
    step = Steps().of(compose(["experiment=bert_movie_reviews", "scale=smoke", "data_dir=/nowhere"]))
    longer = Steps().of(compose(["experiment=bert_movie_reviews", "scale=smoke", "data.max_length=64"]))
    assert step.parameters > 1_000_000
    assert 0 < step.training_flops < longer.training_flops


def test_where_files_lie_is_no_part_of_the_hash(tmp_path: Path) -> None:
    base = compose(IMDB).hash
    assert compose([*IMDB, f"data.path={tmp_path}", "data.columns.text=review", "data.pad_multiple=1"]).hash == base
    assert compose([*IMDB, "data.max_length=20"]).hash != base
    assert compose([*IMDB, "data.commit=null", f"data.path={tmp_path}"]).hash != base


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.commit=main", "data.commit=main: give the 40 digits of a commit of the set on the hub"),
        ("data.commit=null", "data: commit=null: give that of the set on the hub, 40 digits; or data.path=<folder>"),
        ("data.path=/nowhere", "data.path=/nowhere: no such folder; give the one with train.parquet and test.parquet"),
        ("data.max_length=513", "data.max_length=513 is more than the 512 positions of the model"),
        ("data.n_validation=0 data.test_on=validation", "there are no validation rows; hold some out with data.n_val"),
        ("data.test_on=train", "data.test_on=train: input should be 'test' or 'validation'"),
    ],
)
def test_errors_are_reported_in_one_line(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose([*IMDB, *override.split()])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_commit_has_no_default() -> None:
    with pytest.raises(ConfigError, match=r"data\.commit: missing; give it as data\.commit=<value>"):
        compose(IMDB[:-1])


def test_missing_files_are_reported_before_a_run_but_not_in_a_plan(tmp_path: Path) -> None:
    data = compose([*IMDB, f"data.path={write(tmp_path, {'train': REVIEWS['train']})}"]).checked.data
    with pytest.raises(DataError, match=r"has no test\.parquet, \.jsonl or \.csv; it needs train and test with"):
        data.require()
    stand_in = compose(["experiment=bert_movie_reviews", "scale=smoke", f"data_dir={tmp_path}"]).checked.data
    line = rf"{tmp_path}/text/movie_reviews/train\.parquet is missing; scripts/fetch_text_stand_ins\.py {tmp_path}"
    with pytest.raises(DataError, match=line):
        stand_in.require()
