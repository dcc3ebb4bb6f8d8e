"""The teacher's function, its variance, and what each replica is given."""

import pytest
import torch

from kiti.data.teacher_student import Teacher, TeacherStudentData


def data(**changes):
    sizes = {"n_train": 8, "n_validation": 6, "n_test": 5, "d": 3, "teacher_neurons": 4, "noise": 0.5, "steps": 3}
    return TeacherStudentData(**sizes | {"batch_size": sizes["n_train"], "seed": 0} | changes)


@pytest.mark.parametrize("neurons", [1, 3, 50])
def test_the_teachers_variance_is_one(neurons):
    teacher = Teacher(neurons, 5, torch.Generator().manual_seed(1))
    x = torch.randn(400_000, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert teacher(x).var() == pytest.approx(1, abs=0.02)


def test_the_teacher_is_its_formula():
    teacher = Teacher(3, 2, torch.Generator().manual_seed(1))
    assert torch.allclose(teacher.directions.norm(dim=1), torch.ones(3, dtype=torch.float64))
    x = torch.tensor([[0.3, -1.2]])
    expected = sum(
        sign * max(0.0, float(w @ x[0].double())) for sign, w in zip((1, -1, 1), teacher.directions, strict=True)
    )
    assert float(teacher(x)) == pytest.approx(teacher.scale * expected, rel=1e-6)


def test_noise_is_on_training_and_validation_alone():
    clean, noisy = data(noise=0.0), data(noise=0.5)
    (x, y), (x_test, truth), _ = clean._data
    (same, other), (_, tested), _ = noisy._data
    assert torch.equal(x, same)
    assert torch.equal(truth, tested)
    assert 0.1 < (other - y).std() < 1
    validated, without = (next(iter(one.val_dataloader())) for one in (noisy, clean))
    assert torch.equal(validated[0], without[0])
    assert not torch.equal(validated[1], without[1])
    assert x_test.shape == (5, 1, 3)


def test_a_replica_is_the_run_with_its_seed():
    together, alone = data(replicas=3), data(seed=2)
    for ours, theirs in zip(together._data[:2], alone._data[:2], strict=True):
        assert torch.equal(ours[0][:, 2], theirs[0][:, 0])
        assert torch.equal(ours[1][:, 2], theirs[1][:, 0])
    assert together.fingerprint_of(2)["content"] == alone.fingerprint["content"]
    assert together.fingerprint_of(1)["content"] != alone.fingerprint["content"]


def test_an_epoch_is_steps_on_all_points():
    loader = data().train_dataloader()
    batches = list(loader)
    assert len(loader) == len(batches) == 3
    for x, y in batches:
        assert torch.equal(x, data()._data[0][0])
        assert torch.equal(y, data()._data[0][1])
    assert loader.samples_of_batch(0, 2) == list(range(8))
