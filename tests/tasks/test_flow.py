"""Learning flows on irregular points: the authors' loss, curriculum and clipping; errors weigh all points equally."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from kiti.data.loading import evaluation_loader
from kiti.data.mesh_frames import MeshFrames
from kiti.models.oformer import OFormer
from kiti.residual import KITIResidual
from kiti.tasks.flow import BOX, FlowRollout, in_box, momentum

SMALL = {"t_in": 2, "width": 8, "n_layers": 2, "points": 3}
CURRICULUM = {"curriculum_frames": 0, "curriculum_share": 0.0}


def task(model: nn.Module | None = None, **options) -> FlowRollout:
    optimizer = partial(torch.optim.AdamW, lr=1e-3)
    return FlowRollout(model or OFormer(**SMALL), optimizer, **{**CURRICULUM, **options})


class Flows(MeshFrames):
    """Five flows of 4 to 8 points, two input frames, three to predict."""

    def load(self):
        draw = torch.Generator().manual_seed(0)
        counts = torch.tensor([8, 4, 6, 7, 5])
        there = torch.arange(8) < counts.unsqueeze(1)
        tensors = {
            "fields": (torch.randn(5, 5, 8, 4, generator=draw) + 2) * there[:, None, :, None],
            "positions": torch.randn(5, 8, 2, generator=draw) * there[..., None],
            "kind": torch.zeros(5, 8, dtype=torch.uint8),
            "counts": counts,
        }
        batch = self.batch(tensors)
        return tuple(t[:3] for t in batch), tuple(t[3:] for t in batch), "content"


def flows(batch_size: int = 2) -> Flows:
    return Flows(3, 2, frames_in=2, frames_out=3, batch_size=batch_size, eval_batch_size=batch_size, seed=0)


def trainer(**options):
    import pytorch_lightning as pl

    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return pl.Trainer(accelerator="cpu", max_epochs=1, enable_model_summary=False, **quiet, **options)


def test_batches_hold_frames_positions_and_mask():
    data = flows()
    given, target, positions, kind, mask = next(iter(data.test_dataloader()))
    assert (given.shape, target.shape) == ((2, 2, 8, 4), (2, 3, 8, 4))
    assert (positions.shape, kind.shape, kind.dtype) == ((2, 8, 2), (2, 8), torch.int64)
    assert mask.sum(1).tolist() == [7, 5]


def test_the_box_matches_the_authors():
    edge = torch.tensor([[[-0.1, 0.0], [-0.09, 1.19], [1.39, -1.19], [1.41, 0.0], [0.5, 1.21]]])
    assert in_box(edge).tolist() == [[False, True, True, False, False]]
    assert BOX == ((-0.1, 1.4), (-1.2, 1.2))


def test_loss_on_unmasked_points_matches_the_authors():
    """Squares summed over fields, averaged over frames and points, plus twice the momentum's in the box."""
    torch.manual_seed(0)
    learner = task()
    given, target, positions, kind, mask = next(iter(flows().test_dataloader()))
    learner.model.scaling.fit(target, positions, mask)
    learner.eval()  # so that the decoder applies no dropout
    loss = learner.training_step((given, target, positions, kind, mask), 0)
    predicted = learner.model(given, positions, kind, mask, 3)
    scale = learner.model.scaling.normalised
    everywhere, box = [], []
    for b in range(2):
        for t in range(3):
            for p in range(int(mask[b].sum())):
                ours, truth = scale(predicted[b, t, p]), scale(target[b, t, p])
                everywhere.append((ours - truth).square().sum())
                if -0.1 < positions[b, p, 0] < 1.4 and -1.2 < positions[b, p, 1] < 1.2:
                    box += list((ours[:2] * ours[2] - truth[:2] * truth[2]).square())
    expected = torch.stack(everywhere).mean() + 2 * torch.stack(box).mean()
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize(
    ("step", "predicted"), [(0, 8), (1000, 8), (1001, 8), (1400, 12), (1999, 20), (2000, 21), (9000, 21)]
)
def test_curriculum(step, predicted):
    """10,000 steps, 21 frames, curriculum 8 and 0.2: 8 up to step 1,000, then 8 + 2 floor(6.5 (step/1000 − 1))."""
    learner = task(curriculum_frames=8, curriculum_share=0.2)
    clock = SimpleNamespace(estimated_stepping_batches=10_000, global_step=step)
    learner._trainer = clock
    assert learner.global_step == step
    assert learner.frames_predicted(21) == predicted
    assert learner.frames_predicted(6) == 6


def test_only_the_encoders_gradient_is_clipped():
    learner = task()
    for p in learner.model.parameters():
        p.grad = torch.ones_like(p)
    learner.configure_gradient_clipping(torch.optim.SGD(learner.model.parameters(), 1.0), 2.0)
    encoder = torch.cat([p.grad.flatten() for p in learner.model.encoder.parameters()])
    assert encoder.norm().item() == pytest.approx(2.0, rel=1e-4)
    assert all((p.grad == 1).all() for p in learner.model.decoder.parameters())
    learner.configure_gradient_clipping(torch.optim.SGD(learner.model.parameters(), 1.0))
    assert encoder.norm().item() == pytest.approx(2.0, rel=1e-4)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_errors_are_computed_over_all_points(batch_size):
    """Root mean square over flows, frames, points and components, whatever the batches."""
    torch.manual_seed(0)
    learner, data = task(), flows(batch_size)
    whole = next(iter(evaluation_loader(data._data[1], 2)))
    learner.model.scaling.fit(whole[1], whole[2], whole[4])
    run = trainer()
    run.test(learner, data.test_dataloader(), verbose=False)
    given, target, positions, kind, mask = whole
    learner.eval()
    with torch.no_grad():
        predicted = learner.model(given, positions, kind, mask, 3)
    for who, fields in (("momentum", predicted), ("persistence", given[:, [1, 1, 1]])):
        error = momentum(fields) - momentum(target)
        for where, points in (("", mask), ("_box", mask & in_box(positions))):
            expected = error.transpose(1, 2)[points].square().mean().sqrt()
            torch.testing.assert_close(run.logged_metrics[f"test/{who}_rmse{where}"], expected)


def test_normalisation_comes_from_the_training_set():
    torch.manual_seed(0)
    learner, data = task(), flows()
    trainer(gradient_clip_val=2.0).fit(learner, data)
    fields, positions, mask = data.training_flows
    torch.testing.assert_close(learner.model.scaling.mean, fields.transpose(1, 2)[mask].mean((0, 1)))
    torch.testing.assert_close(learner.model.scaling.corner, positions[mask].amin(0))


def test_evaluation_never_collides():
    learner, data = task(OFormer(**SMALL, propagator_seam=True, residual=partial(KITIResidual, 2, 1.0))), flows()
    calls = []
    for module in learner.model.modules():
        if isinstance(module, KITIResidual):
            module.collide = lambda *args, **kwargs: calls.append(1)
    learner.model.train()  # trainer.test must switch it off
    trainer().test(learner, [data.test_dataloader(), data.train_eval_dataloader()], verbose=False)
    assert not calls
    assert all(parameter.isfinite().all() for parameter in learner.model.parameters())
