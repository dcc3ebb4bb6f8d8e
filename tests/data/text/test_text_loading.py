"""Batches of similar length: their order depends on (seed, epoch), ranks share it, runs resume at the next batch."""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from text_cases import REVIEWS, imdb, tokenizer_folder, write
from torch import Tensor

from kiti.data import DataError
from kiti.data.loading import epoch_order
from kiti.data.text.text_loading import TextEvaluationLoader, TextLoader, length_grouped_order
from kiti.data.text.tokenised import TokenisedSplit

SIZE, BATCH = 43, 4


def split_of(lengths: list[int]) -> TokenisedSplit:
    """Items whose tokens and label are their own number."""
    numbers = torch.arange(len(lengths))
    tensors = {
        "train.tokens": numbers.repeat_interleave(torch.tensor(lengths)).int(),
        "train.segments": torch.zeros(sum(lengths), dtype=torch.uint8),
        "train.starts": torch.tensor([0, *np.cumsum(lengths)]),
        "train.labels": numbers,
        "train.truncated": torch.zeros(len(lengths), dtype=torch.uint8),
    }
    return TokenisedSplit(tensors, "train", pad=-1)


@pytest.fixture(scope="module")
def items() -> TokenisedSplit:
    return split_of([3 + (7 * n) % 11 for n in range(SIZE)])


def numbers(batches: list[tuple[Tensor, ...]]) -> list[list[int]]:
    return [labels.tolist() for *_, labels in batches]


def epoch_of(loader: TextLoader, epoch: int) -> list[tuple[Tensor, ...]]:
    loader.set_epoch(epoch)
    return list(loader)


def test_a_batch_is_padded_to_its_longest_item(items: TokenisedSplit) -> None:
    ids, mask, segments, labels = items.batch(torch.tensor([2, 0]))
    assert items.lengths[[2, 0]].tolist() == [6, 3]
    assert ids.tolist() == [[2] * 6, [0, 0, 0, -1, -1, -1]]
    assert mask.tolist() == [[1] * 6, [1, 1, 1, 0, 0, 0]]
    assert not segments.any()
    assert labels.tolist() == [2, 0]
    assert items.batch(torch.tensor([2, 0]), multiple=4)[0].shape == (2, 8)


def test_the_order_is_a_permutation_that_depends_on_seed_and_epoch(items: TokenisedSplit) -> None:
    before = torch.random.get_rng_state()
    orders = {tuple(length_grouped_order(items.lengths, BATCH, s, e).tolist()) for s in range(3) for e in range(3)}
    assert len(orders) == 9
    assert all(sorted(order) == list(range(SIZE)) for order in orders)
    again = length_grouped_order(items.lengths, BATCH, 1, 2)
    assert torch.equal(again, length_grouped_order(items.lengths, BATCH, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("size", [1, 3, 4, 5])
def test_small_sets_keep_all_items(size: int) -> None:
    assert sorted(length_grouped_order(torch.arange(size), 4, 0, 0).tolist()) == list(range(size))


def imdb_like_lengths(number: int) -> list[int]:
    """Log-normal with IMDb's median of about 230 tokens, truncated at 512: a third of the tokens are in those."""
    drawn = np.random.default_rng(0).lognormal(np.log(230), 0.6, number)
    return np.clip(drawn.round(), 12, 512).astype(int).tolist()


def test_padding_is_below_a_tenth_on_lengths_like_imdbs() -> None:
    lengths = torch.tensor(imdb_like_lengths(5000))

    def padding(order: Tensor) -> float:
        batches = lengths[order].split(32)
        return 1 - int(lengths.sum()) / sum(len(batch) * int(batch.max()) for batch in batches)

    assert padding(length_grouped_order(lengths, 32, seed=0, epoch=0)) < 0.1
    assert padding(epoch_order(5000, 0, 0)) > 0.3


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_ranks_share_each_batch_without_duplicates(world_size: int, items: TokenisedSplit) -> None:
    which = torch.arange(SIZE - 1).flip(0)  # 42 items: the last batch has 2
    whole = numbers(epoch_of(TextLoader(items, which, BATCH, seed=3), 5))
    ranks = [
        numbers(epoch_of(TextLoader(items, which, BATCH, seed=3, rank=r, world_size=world_size), 5))
        for r in range(world_size)
    ]
    if world_size == 4:
        whole = whole[:-1]  # fewer items than ranks
    assert {len(of_rank) for of_rank in ranks} == {len(whole)}
    for step, of_all in enumerate(whole):
        assert sorted(chain(*(of_rank[step] for of_rank in ranks))) == sorted(of_all)
    assert sorted(chain(*whole)) == list(range(SIZE - 1)) or world_size == 4


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_evaluation_reads_each_item_once_over_ranks(world_size: int, items: TokenisedSplit) -> None:
    which = torch.arange(0, SIZE, 2)
    loaders = [TextEvaluationLoader(items, which, BATCH, rank=r, world_size=world_size) for r in range(world_size)]
    seen = [numbers(list(loader)) for loader in loaders]
    assert sorted(chain(*chain(*seen))) == which.tolist()
    assert len({len(loader) for loader in loaders}) == 1


def test_resume_at_every_position(items: TokenisedSplit) -> None:
    which = torch.arange(SIZE)
    for epoch in (0, 2):
        whole = numbers(epoch_of(TextLoader(items, which, BATCH, seed=0), epoch))
        for position in range(len(whole)):
            stopped = TextLoader(items, which, BATCH, seed=0)
            stopped.set_epoch(epoch)
            iterator = iter(stopped)
            for _ in range(position):
                next(iterator)
            resumed = TextLoader(items, which, BATCH, seed=0)
            resumed.load_state_dict(stopped.state_dict())
            assert numbers(list(resumed)) == whole[position:]


def test_other_data_are_not_resumed(items: TokenisedSplit) -> None:
    which = torch.arange(SIZE)
    state = TextLoader(items, which, BATCH, seed=0, content="0123456789").state_dict()
    with pytest.raises(ValueError, match="content was"):
        TextLoader(items, which, BATCH, seed=0, content="1123456789").load_state_dict(state)


class Learner(LightningModule):
    """Records the items of each step; its weight depends on their order. Stops after `stop_at` steps of this fit."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[list[int]] = []
        self.stop_at = stop_at

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        ids, mask, _, labels = batch
        self.seen.append([ids[0, 0].item(), ids.shape[1], *labels.tolist()])
        return (self.weight * torch.sin(self.weight + ids.sum()) + (ids * mask).sum().sqrt() * self.weight).square()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3, momentum=0.9)


class Stop(Callback):
    """Saves and ends the fit at the end of a step, as kiti's checkpointing does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: object) -> None:
        if len(module.seen) == module.stop_at:
            trainer.save_checkpoint(self.path)
            raise KeyboardInterrupt


def fit(root: Path, stop_at: int | None = None, resumed: Path | None = None) -> Learner:
    data, learner = imdb(root, seed=4), Learner(stop_at)
    trainer = Trainer(
        max_epochs=3,
        accelerator="cpu",
        callbacks=[Stop(root / f"stopped-{stop_at}.ckpt")],
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


def test_two_stops_in_an_epoch_and_one_in_a_later_one_change_nothing(tmp_path: Path) -> None:
    tokenizer_folder(tmp_path / "model")
    many = [f"{word} {'very ' * (n % 6)}film" for n, word in enumerate(["good", "bad", "it", "no"] * 4)]
    write(tmp_path / "files", {**REVIEWS, "train": {"text": many, "label": [n % 2 for n in range(16)]}})
    whole = fit(tmp_path)
    assert len(whole.seen) == 24  # 3 epochs of 8 batches
    parts, resumed = [], None
    for stop_at in (2, 3, 8, None):  # 2 and 5 steps into the first epoch, 5 into the second, then to the end
        parts.append(fit(tmp_path, stop_at, resumed))
        resumed = tmp_path / f"stopped-{stop_at}.ckpt"
    assert list(chain(*(part.seen for part in parts))) == whole.seen
    assert torch.equal(parts[-1].weight, whole.weight)


def test_subsets_are_nested_and_held_out_rows_are_not_trained_on(tmp_path: Path) -> None:
    tokenizer_folder(tmp_path / "model")
    texts = [" ".join(["good"] * (n % 3 + 1) + ["film"] * (n // 3 + 1)) for n in range(12)]
    write(tmp_path / "files", {**REVIEWS, "train": {"text": texts, "label": [n % 2 for n in range(12)]}})

    def tokens(batches) -> set[tuple[int, ...]]:
        return {
            tuple(ids[: int(n)].tolist()) for batch in batches for ids, n in zip(batch[0], batch[1].sum(1), strict=True)
        }

    all_rows = imdb(tmp_path)
    few, more = (imdb(tmp_path, n_train=n) for n in (3, 6))
    assert tokens(few.train_dataloader()) < tokens(more.train_dataloader()) < tokens(all_rows.train_dataloader())
    held = imdb(tmp_path, n_validation=4, test_on="validation")
    assert held.fingerprint["split"] == {"train": 8, "validation": 4}
    assert not tokens(held.train_dataloader()) & tokens(held.test_dataloader())
    assert tokens(held.train_dataloader()) | tokens(held.test_dataloader()) == tokens(all_rows.train_dataloader())
    test, validation = imdb(tmp_path, n_validation=4).val_dataloader()
    assert tokens(test) == tokens(all_rows.test_dataloader()) == tokens(all_rows.val_dataloader())
    assert tokens(validation) == tokens(held.test_dataloader())
    assert tokens(few.train_eval_dataloader()) == tokens(few.train_dataloader())
    with pytest.raises(DataError, match=r"data\.n_train=9: the set has 8; choose at most that many"):
        imdb(tmp_path, n_validation=4, n_train=9).setup()
    with pytest.raises(DataError, match=r"data\.test_on=validation: there are no validation rows"):
        imdb(tmp_path, test_on="validation").setup()
