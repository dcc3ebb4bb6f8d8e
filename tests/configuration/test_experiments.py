"""Every benchmark that computes its data, from command to record at scale=smoke, also stopped and resumed."""

from collections.abc import Iterator
from pathlib import Path

import fake_images
import pytest
from run_cases import Killed, SaveAndKill, add_callback, same_result

from kiti.cli.evaluate_command import evaluate
from kiti.cli.train_command import train
from kiti.configuration.compose import Composed, compose
from kiti.storage import examples, records

# tests/training/test_runs.py runs Burgers.
IMAGES = {
    "cifar_kitinet": fake_images.fake_cifar,
    "cifar_ko": fake_images.fake_cifar,
    "fashion_kitinet": fake_images.fake_fashion_mnist,
    "condensation_fashion": fake_images.fake_fashion_mnist,
}
PICTURELESS = {"airfoil_euler", "cifar_kitinet", "cifar_ko", "fashion_kitinet"}
EXPERIMENTS = ["navier_stokes", "heat", "airfoil_euler", "condensation_fc", "condensation_skip", *IMAGES]
FLOW = {f"{who}_rmse{where}" for who in ("momentum", "persistence") for where in ("", "_box")}
MEASURED = {"airfoil_euler": FLOW, "condensation_fc": {"mse"}, "condensation_skip": {"mse"}}
MEASURED |= {name: {"accuracy", "top5", "cross_entropy"} for name in IMAGES}
STAND_INS = {"airfoil_euler": "MeshGraphNets"} | {name: "CIFAR-10" for name in IMAGES if "fashion" in name}


def configured(place: Path, experiment: str, data: Path) -> Composed:
    run = [f"experiment={experiment}", "scale=smoke", "residual=kiti", "collision=soft"]
    return compose([*run, "callbacks.checkpointing.every_seconds=1e9", f"runs_dir={place}", f"data_dir={data}"])


@pytest.fixture(scope="module", params=EXPERIMENTS)
def uninterrupted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path, Composed]]:
    """Its name, its data folder, and an uninterrupted run."""
    place = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patched:
        if request.param in IMAGES:
            IMAGES[request.param](place / "data", patched)
        composed = configured(place / "runs", request.param, place / "data")
        train(composed)
        yield request.param, place / "data", composed


def test_what_a_run_writes(uninterrupted: tuple[str, Path, Composed]) -> None:
    name, _data, composed = uninterrupted
    record = records.read(composed.run_dir / records.FILE_NAME)
    assert record.collisions
    assert record.ko
    assert record.flops_per_sample > 0
    assert all(value == value for value in record.metrics.values()), record.metrics
    kinds = MEASURED.get(name, {"relative_l2", "mse"})
    assert {f"{part}/{kind}" for part in ("test", "train") for kind in kinds} <= set(record.metrics)
    assert STAND_INS[name] in str(record.data.stand_in) if name in STAND_INS else record.data.stand_in is None
    assert record.data.recipe or name in IMAGES
    assert (composed.run_dir / examples.FILE_NAME).exists() == (name not in PICTURELESS)


def test_evaluating_a_finished_run_gives_the_same_error(uninterrupted: tuple[str, Path, Composed]) -> None:
    _name, _data, composed = uninterrupted
    record = records.read(composed.run_dir / records.FILE_NAME)
    again = evaluate(composed, records.read(composed.run_dir / records.FILE_NAME), composed.run_dir)
    assert again == {name: pytest.approx(record.metrics[name], rel=1e-5) for name in again}
    assert again


# Two epochs of two steps: stopped between them and inside each.
@pytest.mark.parametrize(("save", "kill"), [(1, 2), (2, 3), (3, 3)])
def test_a_stopped_run_resumes_to_the_same_bits(
    uninterrupted: tuple[str, Path, Composed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: int, kill: int
) -> None:
    name, data, expected = uninterrupted
    composed = configured(tmp_path, name, data)
    with monkeypatch.context() as patched:
        add_callback(patched, SaveAndKill(save, kill))
        with pytest.raises(Killed):
            train(composed)
    train(composed)
    same_result(composed.run_dir, expected.run_dir)


def test_seeds_trained_in_parallel_each_write_a_record(tmp_path: Path) -> None:
    """Without collisions, whose random directions are shared, each matches its run alone."""
    run = ["experiment=condensation_skip", "scale=smoke", "data.batch_size=16"]
    run += [f"runs_dir={tmp_path}", f"data_dir={tmp_path}"]
    train(compose([*run, "seed=3", "replicas=3"]))
    together = {seed: compose([*run, f"seed={seed}"]) for seed in (3, 4, 5)}
    found = {seed: records.read(composed.run_dir / records.FILE_NAME) for seed, composed in together.items()}
    assert {seed: record.seed for seed, record in found.items()} == {3: 3, 4: 4, 5: 5}
    assert {record.replicas for record in found.values()} == {3}
    assert len({record.data.content for record in found.values()}) == 3
    alone = compose([*run, "seed=4", f"runs_dir={tmp_path / 'alone'}"])
    train(alone)
    record = records.read(alone.run_dir / records.FILE_NAME)
    assert record.data == found[4].data
    assert record.config_hash == found[4].config_hash
    assert record.parameters == found[4].parameters
    assert record.metrics == {name: pytest.approx(value, rel=1e-3) for name, value in found[4].metrics.items()}
    again = evaluate(together[5], found[5], together[5].run_dir)
    assert again["test/mse"] == pytest.approx(found[5].metrics["test/mse"], rel=1e-5)


def test_an_existing_run_is_kept_when_trained_again_with_others(tmp_path: Path) -> None:
    run = ["experiment=condensation_fc", "scale=smoke", "data.batch_size=16"]
    run += [f"runs_dir={tmp_path}", f"data_dir={tmp_path}"]
    first = compose([*run, "seed=1"])
    train(first)
    before = (first.run_dir / records.FILE_NAME).read_bytes()
    train(compose([*run, "seed=0", "replicas=2"]))
    assert (first.run_dir / records.FILE_NAME).read_bytes() == before
    assert records.read(first.run_dir_of(0) / records.FILE_NAME).replicas == 2
