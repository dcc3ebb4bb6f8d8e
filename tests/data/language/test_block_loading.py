"""The order of blocks depends on (seed, epoch, position): ranks share it, workers keep it, stops leave it as it is."""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from language_cases import corpora, texts, tokenizer_folder, write_jsonl
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from kiti.data.language.block_loading import BlockEvaluationLoader, BlockLoader
from kiti.data.language.blocks import BlockSource
from kiti.data.loading import Batch

BATCH = 4


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("loading")
    tokenizer_folder(root / "tokenizer")
    for number in range(2):
        write_jsonl(root / "corpora" / f"c{number}.jsonl", texts(100, number))
    return root


@pytest.fixture(scope="module")
def source(root: Path) -> BlockSource:
    """42 blocks: the last batch has 2."""
    data = corpora(root, tokens=42 * 8 + 3)
    data.setup()
    return data._training_source()


def tokens(batches: list[Batch]) -> list[list[list[int]]]:
    return [batch[0].tolist() for batch in batches]


def epoch_of(loader: BlockLoader, epoch: int) -> list[Batch]:
    loader.set_epoch(epoch)
    return list(loader)


def test_an_epoch_has_every_block_once_in_an_order_of_its_own(source: BlockSource) -> None:
    loader = BlockLoader(source, BATCH, seed=3)
    assert len(loader) == 11
    orders = {
        (seed, epoch): [*chain(*BlockLoader(source, BATCH, seed=seed).plan(epoch, 0))]
        for seed in range(3)
        for epoch in range(3)
    }
    assert all(sorted(order) == [(epoch, block) for block in range(42)] for (_, epoch), order in orders.items())
    assert len({tuple(block for _, block in order) for order in orders.values()}) == 9
    order = [*chain(*loader.plan(1, 0))]
    blocks = [row for batch in tokens(epoch_of(loader, 1)) for row in batch]
    assert blocks == [source[block][0][0].tolist() for block in order]
    assert next(loader.plan(1, 7)) == order[28:32], "any of them can be read first"


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_ranks_share_each_batch_without_duplicates(world_size: int, source: BlockSource) -> None:
    whole = tokens(epoch_of(BlockLoader(source, BATCH, seed=3), 5))
    ranks = [
        tokens(epoch_of(BlockLoader(source, BATCH, seed=3, rank=rank, world_size=world_size), 5))
        for rank in range(world_size)
    ]
    if world_size == 4:
        whole = whole[:-1]  # fewer blocks than ranks
    assert [[*chain(*parts)] for parts in zip(*ranks, strict=True)] == whole


def test_a_batch_that_ranks_cannot_share_is_refused(source: BlockSource) -> None:
    with pytest.raises(ValueError, match="batch_size 4 must be a multiple of the number of ranks, 3"):
        BlockLoader(source, BATCH, seed=0, rank=0, world_size=3)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_evaluation_reads_each_block_once_over_ranks(world_size: int, root: Path) -> None:
    data = corpora(root)
    data.setup()
    held = data._evaluated("test")
    loaders = [BlockEvaluationLoader(held, BATCH, rank=rank, world_size=world_size) for rank in range(world_size)]
    seen = [row for loader in loaders for batch in tokens(list(loader)) for row in batch]
    assert sorted(seen) == sorted(held[0, block][0][0].tolist() for block in range(len(held)))
    assert len({len(loader) for loader in loaders}) == 1


def test_workers_give_the_same_batches_in_the_same_order(source: BlockSource) -> None:
    alone, helped = BlockLoader(source, BATCH, seed=1), BlockLoader(source, BATCH, seed=1, workers=2)
    state = torch.random.get_rng_state()
    for epoch in (0, 3):
        for one, other in zip(epoch_of(alone, epoch), epoch_of(helped, epoch), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(("seed", "workers"), [(0, 0), (1, 0), (2, 0), (0, 1)])
def test_three_random_stops_in_an_epoch_give_the_same_tokens(seed: int, workers: int, source: BlockSource) -> None:
    whole = tokens(epoch_of(BlockLoader(source, BATCH, seed=seed), 2))
    stops = sorted(np.random.default_rng(seed).choice(len(whole) - 1, 3, replace=False) + 1)
    seen: list[list[list[int]]] = []
    state = None
    for until in [*stops, len(whole)]:
        loader = BlockLoader(source, BATCH, seed=seed, workers=workers)
        loader.set_epoch(2)
        if state is not None:
            loader.load_state_dict(state)
        iterator = iter(loader)
        while len(seen) < until:
            seen.append(next(iterator)[0].tolist())
        state = loader.state_dict()
    assert seen == whole


@pytest.mark.parametrize("change", ["content", "context", "isolated"])
def test_other_data_are_not_resumed(change: str, source: BlockSource) -> None:
    state = BlockLoader(source, BATCH, seed=0, content="0123456789").state_dict()
    other = BlockSource(
        source.streams,
        source.blocks,
        source.context + (change == "context"),
        "isolated" if change == "isolated" else "joined",
        source.end,
    )
    content = "1123456789" if change == "content" else "0123456789"
    with pytest.raises(ValueError, match=f"cannot resume inside an epoch: {change} was"):
        BlockLoader(other, BATCH, seed=0, content=content).load_state_dict(state)


class Learner(LightningModule):
    """Records the tokens of each step; its weight depends on their order. Stops after `stop_at` steps of this fit."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[list[list[int]]] = []
        self.stop_at = stop_at

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        self.seen.append(batch[0].tolist())
        return (torch.sin(self.weight + batch[0].sum()) - 0.1 * self.weight).square()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


class Stop(Callback):
    """Saves and ends the fit at the end of a step, as kiti's checkpointing does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: object) -> None:
        if len(module.seen) == module.stop_at:
            trainer.save_checkpoint(self.path)
            raise KeyboardInterrupt


def fit(root: Path, folder: Path, stop_at: int | None = None, resumed: Path | None = None) -> Learner:
    data, learner = corpora(root, tokens=42 * 8, seed=4), Learner(stop_at)
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        callbacks=[Stop(folder / f"stopped-{stop_at}.ckpt")],
        use_distributed_sampler=False,
        enable_checkpointing=False,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
    )
    try:
        trainer.fit(learner, data, ckpt_path=resumed, weights_only=True)
    except (KeyboardInterrupt, SystemExit):
        assert len(learner.seen) == stop_at
    return learner


def test_stops_of_a_run_change_nothing(root: Path, tmp_path: Path) -> None:
    whole = fit(root, tmp_path)
    assert len(whole.seen) == 22
    parts, resumed = [], None
    for stop_at in (2, 3, 8, None):  # twice in the first epoch, once in the second, then to the end
        parts.append(fit(root, tmp_path, stop_at, resumed))
        resumed = tmp_path / f"stopped-{stop_at}.ckpt"
    assert [*chain(*(part.seen for part in parts))] == whole.seen
    assert torch.equal(parts[-1].weight, whole.weight)
