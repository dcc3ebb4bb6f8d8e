"""Loading: exact coverage, disjoint shards, and a resumed run that sees what an uninterrupted one saw."""

from collections import Counter
from itertools import pairwise
from math import ceil
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from kiti.data import DataError
from kiti.data.loading import EvaluationLoader, ResumableLoader, epoch_order, evaluation_loader, training_loader

SIZE, BATCH, EPOCHS = 23, 4, 3
STEPS = 6  # ceil(23 / 4)
SAMPLES = torch.arange(SIZE)


def flat(batches: list[list[int]]) -> list[int]:
    return [row for batch in batches for row in batch]


def epoch_of(loader: ResumableLoader, epoch: int) -> list[list[int]]:
    loader.set_epoch(epoch)
    return [rows.tolist() for (rows,) in loader]


def test_an_epoch_holds_every_sample_once() -> None:
    loader = ResumableLoader([SAMPLES, SAMPLES.double()[:, None] * 10], BATCH, seed=0)
    batches = list(loader)
    assert len(batches) == len(loader) == STEPS
    assert [len(rows) for rows, _ in batches] == [4, 4, 4, 4, 4, 3]
    assert sorted(torch.cat([rows for rows, _ in batches]).tolist()) == list(range(SIZE))
    for rows, tenfold in batches:
        assert torch.equal(tenfold, rows.double()[:, None] * 10)


def test_order_depends_only_on_seed_and_epoch() -> None:
    before = torch.random.get_rng_state()
    orders = [tuple(epoch_order(SIZE, seed, epoch).tolist()) for seed in range(4) for epoch in range(4)]
    assert len(set(orders)) == 16  # also (seed, epoch) and (epoch, seed), which their sum would confuse
    assert tuple(epoch_order(SIZE, 2, 3).tolist()) == orders[11]
    loader = ResumableLoader([SAMPLES], BATCH, seed=2)
    late, early = epoch_of(loader, 3), epoch_of(loader, 1)
    assert flat(late) == list(orders[11])
    assert flat(early) == list(orders[9])
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("size", [8, 19, 21, 23, 24])
def test_shards_partition_the_global_batches(size: int, world_size: int) -> None:
    samples = torch.arange(size)
    whole = epoch_of(ResumableLoader([samples], 4, seed=5), 2)
    if world_size > 1 and size % 4 < world_size:
        whole = whole[: size // 4]  # the last batch has fewer samples than ranks
    shards = [
        epoch_of(ResumableLoader([samples], 4, seed=5, rank=r, world_size=world_size), 2) for r in range(world_size)
    ]
    for step, of_all in enumerate(whole):
        parts = [shard[step] for shard in shards]
        assert flat(parts) == of_all
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert {len(shard) for shard in shards} == {len(whole)}


@pytest.mark.parametrize("batch_size", [1, 2, 4, 5, 8, 9, 100])
@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [4, 9, 16, 17, 23])
def test_evaluation_covers_each_sample_once_over_ranks(size: int, world_size: int, batch_size: int) -> None:
    samples = torch.arange(size)
    loaders = [EvaluationLoader([samples], batch_size, rank=r, world_size=world_size) for r in range(world_size)]
    seen = [rows.tolist() for loader in loaders for (rows,) in loader]
    assert all(seen)
    assert sorted(flat(seen)) == list(range(size))
    assert max(map(len, seen)) <= ceil(batch_size / world_size) + (world_size > 1)  # one more where counts must agree
    assert len({len(loader) for loader in loaders}) == 1
    if world_size == 1:
        assert flat(seen) == list(range(size))
        assert [len(rows) for rows in seen[:-1]] == [batch_size] * (len(seen) - 1)


@pytest.mark.parametrize("epoch", [0, 2])
@pytest.mark.parametrize("position", range(STEPS + 1))
def test_resume_at_every_position(position: int, epoch: int) -> None:
    first = ResumableLoader([SAMPLES], BATCH, seed=1)
    first.set_epoch(epoch)
    batches = iter(first)
    for _ in range(position):
        next(batches)
    state = first.state_dict()
    rest = [rows.tolist() for (rows,) in batches]

    resumed = ResumableLoader([SAMPLES], BATCH, seed=1)
    resumed.load_state_dict(state)
    iterator = iter(resumed)
    resumed.set_epoch(epoch)
    assert len(resumed) == STEPS
    assert [rows.tolist() for (rows,) in iterator] == rest
    assert epoch_of(resumed, epoch + 1) == epoch_of(first, epoch + 1)


def test_a_position_left_unused_does_not_reach_the_next_epoch() -> None:
    loader = ResumableLoader([SAMPLES], BATCH, seed=1)
    loader.load_state_dict({**loader.state_dict(), "epoch": 4, "batches": 3})
    assert len(epoch_of(loader, 5)) == STEPS


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"batch_size": 0}, "batch_size 0 must be positive"),
        ({"batch_size": 4, "rank": 2, "world_size": 2}, "rank 2 is not one of 2"),
    ],
)
def test_wrong_arguments_are_named(kwargs: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResumableLoader([SAMPLES], seed=0, **kwargs)
    with pytest.raises(ValueError, match=message):
        EvaluationLoader([SAMPLES], **kwargs)


def test_what_the_ranks_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size 6 must be a multiple of the number of ranks, 4"):
        ResumableLoader([SAMPLES], seed=0, batch_size=6, world_size=4)
    with pytest.raises(DataError, match="3 samples are too few to test on 4 processes"):
        EvaluationLoader([SAMPLES[:3]], batch_size=4, world_size=4)


def test_unequal_tensors_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[23, 22\]"):
        ResumableLoader([SAMPLES, SAMPLES[1:]], BATCH, seed=0)


def test_a_different_order_is_not_resumed() -> None:
    state = ResumableLoader([SAMPLES], BATCH, seed=1).state_dict()
    with pytest.raises(ValueError, match="seed was 1 when saved and is 2 now"):
        ResumableLoader([SAMPLES], BATCH, seed=2).load_state_dict(state)
    with pytest.raises(ValueError, match="size was 23 when saved and is 22 now"):
        ResumableLoader([SAMPLES[1:]], BATCH, seed=1).load_state_dict(state)


class Recorder(LightningModule):
    """Records the samples of each optimizer step; its weight depends on their order."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[int, int, list[int]]] = []

    def train_dataloader(self) -> ResumableLoader:
        return training_loader([SAMPLES], BATCH, seed=7, trainer=self.trainer)

    def val_dataloader(self) -> EvaluationLoader:
        return evaluation_loader([SAMPLES[:3]], BATCH, trainer=self.trainer)

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        self.seen.append((self.current_epoch, batch_idx, batch[0].tolist()))
        return (self.weight - batch[0].double().mean()).square()

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Stop(Exception):
    pass


class SaveAndStop(Callback):
    """Saves a checkpoint in one hook of one step, then fails as if killed."""

    def __init__(self, path: Path, hook: str, epoch: int, step: int) -> None:
        self.path, self.epoch, self.step = path, epoch, step
        setattr(self, hook, self.stop)

    def stop(self, trainer: Trainer, *_: object) -> None:
        if trainer.current_epoch == self.epoch and (self.step is None or trainer.fit_loop.batch_idx == self.step):
            trainer.save_checkpoint(self.path)
            raise Stop


def trainer(tmp_path: Path, *callbacks: Callback, **kwargs: object) -> Trainer:
    limit = {} if "max_steps" in kwargs else {"max_epochs": EPOCHS}
    return Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
        callbacks=list(callbacks),
        **limit,
        **kwargs,
    )


# Finished steps of the epoch when the hook saves: hooks after a step include it.
HOOKS = [
    ("on_train_batch_start", 0, 0, 0),
    ("on_train_batch_start", 0, 3, 3),
    ("on_train_batch_start", 1, 0, 0),
    ("on_train_batch_start", 1, STEPS - 1, STEPS - 1),
    ("on_before_zero_grad", 1, 2, 2),
    ("on_train_batch_end", 0, 0, 1),
    ("on_train_batch_end", 1, 2, 3),
    ("on_train_batch_end", 1, STEPS - 1, STEPS),
    ("on_validation_end", 1, STEPS - 1, STEPS),
    ("on_train_epoch_end", 1, STEPS - 1, STEPS),
]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    module = Recorder()
    trainer(tmp_path_factory.mktemp("whole")).fit(module)
    return module


def test_a_fit_sees_every_epoch_in_its_order(uninterrupted: Recorder) -> None:
    loader = ResumableLoader([SAMPLES], BATCH, seed=7)
    assert uninterrupted.seen == [
        (epoch, i, rows) for epoch in range(EPOCHS) for i, rows in enumerate(epoch_of(loader, epoch))
    ]
    counts = Counter(row for _, _, rows in uninterrupted.seen for row in rows)
    assert counts == dict.fromkeys(range(SIZE), EPOCHS)
    assert all(one != other for one, other in pairwise(epoch_of(loader, e) for e in range(EPOCHS)))


@pytest.mark.parametrize("limit", [{}, {"max_steps": EPOCHS * STEPS}], ids=["epochs", "steps"])
@pytest.mark.parametrize(("hook", "epoch", "step", "finished"), HOOKS)
def test_a_resumed_fit_sees_the_remaining_batches(
    hook: str, epoch: int, step: int, finished: int, limit: dict, uninterrupted: Recorder, tmp_path: Path
) -> None:
    stopped = Recorder()
    with pytest.raises(Stop):
        trainer(tmp_path, SaveAndStop(tmp_path / "last.ckpt", hook, epoch, step), **limit).fit(stopped)
    done = epoch * STEPS + finished
    assert stopped.seen[:done] == uninterrupted.seen[:done]

    resumed = Recorder()
    trainer(tmp_path, **limit).fit(resumed, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert resumed.seen == uninterrupted.seen[done:]
    assert torch.equal(resumed.weight, uninterrupted.weight)


def test_a_failed_step_is_run_again(uninterrupted: Recorder, tmp_path: Path) -> None:
    class SaveOnException(Callback):
        def on_exception(self, trainer: Trainer, module: LightningModule, error: BaseException) -> None:
            trainer.save_checkpoint(tmp_path / "last.ckpt")

    class Failing(Recorder):
        def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
            loss = super().training_step(batch, batch_idx)
            if (self.current_epoch, batch_idx) == (1, 4):
                raise Stop
            return loss

    with pytest.raises(Stop):
        trainer(tmp_path, SaveOnException()).fit(Failing())
    resumed = Recorder()
    trainer(tmp_path).fit(resumed, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert resumed.seen == uninterrupted.seen[STEPS + 4 :]
    assert torch.equal(resumed.weight, uninterrupted.weight)


def test_validation_inside_an_epoch_does_not_shift_the_resume(tmp_path: Path) -> None:
    whole, stopped, resumed = Recorder(), Recorder(), Recorder()
    trainer(tmp_path, val_check_interval=2).fit(whole)
    save = SaveAndStop(tmp_path / "last.ckpt", "on_validation_end", 1, 3)
    with pytest.raises(Stop):
        trainer(tmp_path, save, val_check_interval=2).fit(stopped)
    trainer(tmp_path, val_check_interval=2).fit(resumed, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert resumed.seen == whole.seen[STEPS + 4 :]


def test_a_batch_tells_its_samples() -> None:
    loaders = [ResumableLoader([SAMPLES], BATCH, seed=1, rank=rank, world_size=2) for rank in range(2)]
    shares = [epoch_of(loader, 2) for loader in loaders]
    for batch in range(len(loaders[0])):
        assert loaders[0].samples_of_batch(2, batch) == shares[0][batch] + shares[1][batch]
