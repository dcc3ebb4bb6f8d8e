"""Language modelling: a step's loss is the mean over its labelled tokens; isolated documents; divergence."""

import math
from functools import partial
from typing import Any

import pytest
import torch
from stream_cases import SGD, VOCABULARY, Stream, T, blocks, model, trainer
from torch import Tensor
from torch.nn import functional

from kiti.ko import KO
from kiti.storage.divergence import Divergence
from kiti.tasks.language_modelling import LanguageModelling, own_document


def trained(given: tuple[Tensor, ...], batch: int, optimizer: Any = SGD, task: Any = None, **how: Any) -> Any:
    """The task after one epoch in float64."""
    learner = LanguageModelling(model(), optimizer, **(task or {})).double()
    trainer(precision="64-true", **how).fit(learner, Stream(given, batch))
    return learner


def differences(one: Any, other: Any) -> float:
    pairs = zip(one.model.parameters(), other.model.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


@pytest.mark.parametrize("micro", [1, 2, 4])
def test_a_step_is_the_same_in_one_batch_and_in_micro_batches(micro: int) -> None:
    given = blocks(8, 1)
    labelled = (given[1] != -100).sum(1)
    assert len(set(labelled.tolist())) > 2  # so that a mean of means would differ
    whole, parts = trained(given, 8), trained(given, 8 // micro, accumulate_grad_batches=micro)
    assert differences(whole, parts) < 1e-12
    assert differences(whole, LanguageModelling(model(), SGD).double()) > 1e-4


def test_a_step_takes_the_gradient_of_the_mean_over_labelled_tokens() -> None:
    given = blocks(4, 2)
    expected = model().double()
    logits = expected(input_ids=given[0]).logits
    functional.cross_entropy(logits.flatten(0, 1).float(), given[1].flatten()).backward()
    with torch.no_grad():
        for parameter in expected.parameters():
            parameter -= 0.5 * parameter.grad
    actual = trained(given, 4)
    for one, other in zip(actual.model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-7)


def test_labels_may_be_any_token_that_of_padding_too() -> None:
    given = blocks(4, 3, unlabelled=0.0)
    alike = LanguageModelling(model(pad_token_id=5), SGD)
    plain = LanguageModelling(model(), SGD)
    losses = [float(task._summed(given)[0]) for task in (alike, plain)]
    assert losses[0] == losses[1]
    assert (given[1] == 5).any()


def test_batches_without_labels_add_nothing_and_are_counted() -> None:
    tokens, labels, positions = blocks(4, 4)
    empty = labels.clone()
    empty[:] = -100
    given = torch.cat([tokens, tokens]), torch.cat([labels, empty]), torch.cat([positions, positions])
    found = trained(given, 1, accumulate_grad_batches=8)
    assert found.unlabelled_batches == 4
    assert differences(found, trained((tokens, labels, positions), 4)) < 1e-12


def test_a_step_without_labels_changes_no_weight() -> None:
    tokens, labels, positions = blocks(4, 4, unlabelled=1.0)
    adamw = partial(torch.optim.AdamW, lr=0.1, weight_decay=0.5)
    assert differences(trained((tokens, labels, positions), 2, adamw), LanguageModelling(model(), SGD).double()) == 0


@pytest.mark.parametrize("family", ["gpt2", "qwen2"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_isolated_document_moves_no_logit_of_the_next(family: str, attention: str, dtype: torch.dtype) -> None:
    task = LanguageModelling(model(family, attention=attention), SGD, documents="isolated").to(dtype).eval()
    tokens, labels, _ = blocks(2, 5)
    positions = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 0, 1]])
    other = tokens.clone()
    other[:, 1] = (tokens[:, 1] + 1) % VOCABULARY
    logits = [task.call((given, labels, positions)).logits for given in (tokens, other)]
    for row, start in ((0, 3), (1, 6)):
        assert torch.equal(logits[0][row, start:], logits[1][row, start:])
        assert not torch.equal(logits[0][row, 1:start], logits[1][row, 1:start])
    alone = task.model(input_ids=tokens[:1, 3:], use_cache=False).logits[0]
    torch.testing.assert_close(logits[0][0, 3:], alone, rtol=0, atol=1e-5 if dtype == torch.float32 else 0.05)


@pytest.mark.parametrize("family", ["gpt2", "qwen2"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_joined_documents_see_each_other(family: str, attention: str) -> None:
    task = LanguageModelling(model(family, attention=attention), SGD).eval()
    tokens, labels, positions = blocks(1, 6)
    isolated = LanguageModelling(task.model, SGD, documents="isolated").eval()
    one = task.call((tokens, labels, positions)).logits
    torch.testing.assert_close(isolated.call((tokens, labels, positions)).logits, one, rtol=0, atol=1e-6)
    cut = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 4]])
    assert not torch.allclose(isolated.call((tokens, labels, cut)).logits[0, 3:], one[0, 3:], atol=1e-4)


def test_a_token_sees_the_earlier_ones_of_its_document() -> None:
    seen = own_document(torch.tensor([[0, 1, 0, 1], [3, 4, 5, 0]]))  # the second begins inside a document
    expected = [
        [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]],
        [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1]],
    ]
    assert torch.equal(seen, torch.tensor(expected, dtype=torch.bool)[:, None])


def test_clipping_comes_after_the_collision_and_the_norm_is_logged() -> None:
    given = blocks(4, 7)
    soft = partial(KO, mode="soft", coll_coef=0.2, seed=0)
    task = {"collision": soft, "neurons": ["transformer.h.1.mlp.*.weight"]}
    free, clipped = (trained(given, 4, SGD, task, gradient_clip_val=value) for value in (None, 0.01))
    start = LanguageModelling(model(), SGD).double()
    moved = [
        torch.cat(
            [
                ((a - b) / -0.5).detach().flatten()
                for a, b in zip(one.model.parameters(), start.model.parameters(), strict=True)
            ]
        )
        for one in (free, clipped)
    ]
    norm = float(free.trainer.callback_metrics["train/grad_norm"])
    assert norm == pytest.approx(float(moved[0].norm()), rel=1e-6)
    assert float(moved[1].norm()) == pytest.approx(0.01, rel=1e-4)
    torch.testing.assert_close(moved[1], moved[0] * 0.01 / norm, rtol=1e-4, atol=1e-9)
    assert differences(free, trained(given, 4)) > 1e-6  # the collision did something


def test_a_norm_that_is_not_finite_stops_the_run_which_has_diverged(capsys: pytest.CaptureFixture[str]) -> None:
    learner = LanguageModelling(model(), SGD)
    data = Stream(blocks(8, 8), 2)
    loop = trainer(max_epochs=3)
    with torch.no_grad():
        learner.model.transformer.h[0].mlp.c_fc.weight[0, 0] = math.inf
    before = [p.clone() for p in learner.model.parameters()]
    loop.fit(learner, data)
    assert loop.global_step <= 1
    loop.test(learner, [data.test_dataloader(), data.train_eval_dataloader()], verbose=False)
    assert math.isnan(float(loop.logged_metrics["test/loss"]))
    first = [int(sample) for sample in data.train_dataloader().order(0)[:2]]
    assert learner.divergences == {0: Divergence("the gradient's norm", 0, 0, 0, first)}
    assert "the gradient's norm was not finite at step 0, epoch 0, batch 0 (samples " in capsys.readouterr().err
    for one, other in zip(learner.model.parameters(), before, strict=True):
        assert torch.equal(one, other)


def test_metrics_are_means_over_labelled_tokens_whatever_the_batches() -> None:
    learner = LanguageModelling(model(), SGD)
    data = Stream(blocks(8, 8), 2)
    loop = trainer()
    loop.fit(learner, data)
    loop.test(learner, [data.test_dataloader(), data.train_eval_dataloader()], verbose=False, datamodule=None)
    tokens, labels, _ = blocks(5, 9)
    with torch.no_grad():
        logits = learner.model.eval()(input_ids=tokens).logits
    loss = float(functional.cross_entropy(logits.flatten(0, 1), labels.flatten()))
    found = {name: float(value) for name, value in loop.logged_metrics.items()}
    assert found["test/loss"] == pytest.approx(loss, rel=1e-5)
    assert found["test/perplexity"] == pytest.approx(math.exp(loss), rel=1e-5)
    assert "train/loss" in found


def test_bits_per_byte_and_trivial_losses_come_from_the_data() -> None:
    learner = LanguageModelling(model(), SGD)
    data = Stream(blocks(8, 8), 2)
    loop = trainer()
    loop.fit(learner, data)
    loss = float(loop.callback_metrics["val/loss"])
    assert float(loop.callback_metrics["val/bits_per_byte"]) == pytest.approx(loss / math.log(2) / 3, rel=1e-6)
    loop.test(learner, datamodule=data, verbose=False)
    assert learner.of_replica[0]["trivial/uniform_loss"] == pytest.approx(math.log(VOCABULARY), rel=1e-5)
    assert learner.of_replica[0]["trivial/uniform_bits_per_byte"] == pytest.approx(math.log2(VOCABULARY) / 3, rel=1e-5)
    assert learner.of_replica[0]["train/unlabelled_batches"] == 0


def test_the_course_of_the_loss_is_recorded_by_step() -> None:
    learner = LanguageModelling(model(), SGD)
    data = Stream(blocks(8, 8), 2)
    loop = trainer(val_check_interval=2)
    loop.fit(learner, data)
    loop.test(learner, datamodule=data, verbose=False)
    course = {name: value for name, value in learner.of_replica[0].items() if name.startswith("val/loss@")}
    assert list(course) == ["val/loss@2", "val/loss@4"]
    assert course["val/loss@4"] == pytest.approx(float(loop.logged_metrics["test/loss"]))  # here the same set
    assert len(set(course.values())) == 2
    assert learner.of_replica[0]["train/tokens_per_step"] == 2 * T
