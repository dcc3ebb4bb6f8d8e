"""Numbers change only with a revision: every experiment at scale=smoke against committed values.

A run is recorded unit by unit in execution order, so that the first value that differs shows where to look.
It uses float64, so that another processor's rounding stays far below the tolerance.

After an intended change of numbers, increment the `revision` of the unit that the test names, then rewrite:

    KITI_WRITE_GOLDEN=1 python -m pytest tests/training/test_golden.py

Values that changed under unchanged revisions are not written. A metric that is new needs no revision, as records
without it still hold what they say; it is written in the same way.
"""

import json
import os
from pathlib import Path
from typing import Any

import fake_images
import image_sets
import language_sets
import meshgraphnets_cases
import pytest
import text_sets
import torch
from pytorch_lightning import Callback, Trainer
from run_cases import add_callback
from scipy.io import savemat
from torch import Tensor

from kiti.cli.train_command import train
from kiti.configuration.compose import compose
from kiti.configuration.locations import CONF
from kiti.residual import Residual
from kiti.storage import records
from kiti.tasks.task import Task

GOLDEN = Path(__file__).parents[1] / "golden"
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
SWITCHES = {"kiti-soft": ["residual=kiti", "collision=soft"], "add-hard": ["residual=add", "collision=hard"]}
TOLERANCE = 1e-4
# Where each value comes from, in execution order, and which revision counts its changes.
UNITS = {
    "batch": "the data set (data)",
    "weights at the start": "the model's initialisation (model)",
    "evaluated": "the model's forward pass (model)",
    "partners": "the residual kind (residual) or the collision of features (Rules.revision)",
    "loss": "the task's loss (task) or the residual kind (residual)",
    "gradient": "the backward pass of model, residual kind or task",
    "gradient change": "the collision of gradients (collision)",
    "weights at the end": "the optimizer, scheduler, averaging or trainer",
    "metric": "the task's evaluation (TaskKeys.evaluation)",
}


class ValueRecorder(Callback):
    """Records what the first step sees, by unit, without affecting the run."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: Task, batch: Any, batch_idx: int) -> None:
        if trainer.global_step:
            return
        self.values["batch"] = norm(batch)
        self.values["weights at the start"] = norm(pl_module.model.state_dict().values())
        pl_module.eval()
        with torch.no_grad():
            inputs = pl_module.inputs(trainer.precision_plugin.convert_input(batch))
            outputs = pl_module.model(*inputs)
            self.values["evaluated"] = norm(getattr(outputs, "logits", outputs))
        pl_module.train()

    def on_before_backward(self, trainer: Trainer, pl_module: Task, loss: Tensor) -> None:
        if trainer.global_step:
            return
        seams = [m for m in pl_module.model.modules() if isinstance(m, Residual) and m.collisions is not None]
        self.values["partners"] = sum(float(seam.collisions.partners) for seam in seams)
        self.values["loss"] = float(loss.detach())

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Task, optimizer: Any) -> None:
        if not trainer.global_step:
            self.values["gradient"] = norm(p.grad for p in pl_module.parameters() if p.grad is not None)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Task, *_: Any) -> None:
        if trainer.global_step == 1:
            assert pl_module.ko is not None
            self.values["gradient change"] = norm(pl_module.ko.relative_change.values())

    def on_fit_end(self, trainer: Trainer, pl_module: Task) -> None:
        self.values["weights at the end"] = norm(pl_module.model.state_dict().values())


def norm(tensors: Any) -> float:
    """The Euclidean norm of all entries of a tensor, or of several."""
    several = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    reals = (torch.view_as_real(one) if one.is_complex() else one for one in several)
    return sum(float(one.detach().double().square().sum()) for one in reals) ** 0.5


def differing(found: dict[str, float], golden: dict[str, float]) -> list[str]:
    """One line for each value that changed, in the order of UNITS."""
    changed = []
    for name in [*golden, *(name for name in found if name not in golden)]:
        ours, theirs = found.get(name), golden.get(name)
        if ours is None or theirs is None or ours != pytest.approx(theirs, rel=TOLERANCE, abs=1e-9, nan_ok=True):
            unit = "metric" if name.startswith("metric ") else name
            changed.append(f"{name}: {ours}, was {theirs}; look at {UNITS[unit]}")
    return changed


def problems(found: dict[str, Any], golden: dict[str, Any]) -> list[str]:
    """The problems: values that changed under unchanged revisions, or committed values of other revisions."""
    if found["revisions"] != golden["revisions"]:
        names = found["revisions"].keys() | golden["revisions"].keys()
        counted = sorted(n for n in names if found["revisions"].get(n) != golden["revisions"].get(n))
        return [f"the revision of {', '.join(counted)} changed: rewrite the values with KITI_WRITE_GOLDEN=1"]
    if changed := changes(found, golden):
        return [*changed, "increment that unit's revision, then KITI_WRITE_GOLDEN=1"]
    added = new_metrics(found, golden)
    return [f"{', '.join(added)}: not yet written; KITI_WRITE_GOLDEN=1"] if added else []


def changes(found: dict[str, Any], golden: dict[str, Any]) -> list[str]:
    """One line for each committed value that changed."""
    added = new_metrics(found, golden)
    return differing({name: value for name, value in found["values"].items() if name not in added}, golden["values"])


def new_metrics(found: dict[str, Any], golden: dict[str, Any]) -> list[str]:
    """The metrics that the committed values do not have."""
    return [name for name in found["values"] if name.startswith("metric ") and name not in golden["values"]]


def may_write(found: dict[str, Any], golden: dict[str, Any] | None) -> bool:
    """Whether revisions count every change of a value that is committed."""
    if golden is None or found["revisions"] != golden["revisions"]:
        return True
    return bool(new_metrics(found, golden)) and not changes(found, golden)


def prepared(experiment: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Write the files that the experiment reads, if any; returns the overrides that name them."""
    if experiment in language_sets.DATA:
        return language_sets.prepared(experiment, folder)
    if experiment in text_sets.PUBLISHED:
        return text_sets.prepared(experiment, folder)
    if experiment.startswith("imagenet"):
        return [f"data.path={image_sets.write_folder(folder / 'images')}"]
    if experiment == "airfoil":
        (folder / "meta.json").write_text(json.dumps(meshgraphnets_cases.META))
        flows = [meshgraphnets_cases.trajectory(30, 40, seed) for seed in range(6)]
        meshgraphnets_cases.write(folder / "train.tfrecord", flows[:4])
        meshgraphnets_cases.write(folder / "test.tfrecord", flows[4:])
        return [f"data.path={folder}"]
    if experiment == "burgers_mat":
        fields = torch.randn(12, 1024, generator=torch.Generator().manual_seed(0)).cumsum(1).numpy() / 32
        savemat(folder / "burgers.mat", {"a": fields, "u": fields[:, ::-1]})
        small = ["data.n_train=8", "data.n_test=4", "data.batch_size=4", "data.resolution=64"]
        return [f"data.path={folder / 'burgers.mat'}", *small, "model.width=8", "model.modes=8", "trainer.max_epochs=2"]
    if "cifar" in experiment:
        fake_images.fake_cifar(folder / "data", monkeypatch)
    if "fashion" in experiment:
        fake_images.fake_fashion_mnist(folder / "data", monkeypatch)
    return []


@pytest.mark.slow
@pytest.mark.parametrize("switches", SWITCHES)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_no_number_of_an_experiment_changes(
    experiment: str, switches: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scale = "paper" if experiment == "burgers_mat" else "smoke"  # which `prepared` makes small
    run = [f"experiment={experiment}", f"scale={scale}", "trainer.precision=64-true", *SWITCHES[switches]]
    run += prepared(experiment, tmp_path, monkeypatch)
    if switches == "kiti-soft" and compose(run).config["model"].get("seams") == 0:
        run += ["model.depth=1", "model.seams=1"]  # condensation_ko has no seam of its own
    composed = compose([*run, f"runs_dir={tmp_path / 'runs'}", f"data_dir={tmp_path / 'data'}"])
    followed = ValueRecorder()
    add_callback(monkeypatch, followed)
    train(composed)
    record = records.read(composed.run_dir / records.FILE_NAME)
    values = followed.values | {f"metric {name}": value for name, value in sorted(record.metrics.items())}
    found = {"revisions": record.revisions, "values": values}
    path = GOLDEN / f"{experiment}.{switches}.json"
    golden = json.loads(path.read_text()) if path.exists() else None
    if os.environ.get("KITI_WRITE_GOLDEN") and may_write(found, golden):
        if golden is not None and found["revisions"] == golden["revisions"]:
            found["values"] |= golden["values"]  # these stay, to the last digit
        records.write_whole(path, (json.dumps(found, indent=1) + "\n").encode())
        golden = found
    assert golden is not None, "no committed values: KITI_WRITE_GOLDEN=1 writes them"
    complaints = problems(found, golden)
    assert not complaints, "\n".join(complaints)


def test_a_changed_number_needs_a_new_revision() -> None:
    golden = {"revisions": {"data": 1, "task": 1}, "values": {"batch": 1.0}}
    assert problems(golden, golden) == []
    changed = problems(golden | {"values": {"batch": 1.1}}, golden)
    assert changed[0] == "batch: 1.1, was 1.0; look at the data set (data)"
    assert changed[1] == "increment that unit's revision, then KITI_WRITE_GOLDEN=1"
    counted = problems({"revisions": {"data": 2, "task": 1}, "values": {"batch": 1.1}}, golden)
    assert counted == ["the revision of data changed: rewrite the values with KITI_WRITE_GOLDEN=1"]


def test_a_new_metric_needs_no_new_revision_but_a_changed_one_does() -> None:
    golden = {"revisions": {"data": 1}, "values": {"batch": 1.0, "metric test/mse": 2.0}}
    more = golden["values"] | {"metric trivial/ridge_mse": 3.0}
    found = {"revisions": {"data": 1}, "values": more}
    assert problems(found, golden) == ["metric trivial/ridge_mse: not yet written; KITI_WRITE_GOLDEN=1"]
    assert may_write(found, golden)
    assert not may_write(golden, golden)
    changed = found | {"values": more | {"metric test/mse": 2.1}}
    assert problems(changed, golden)[0].startswith("metric test/mse: 2.1, was 2.0")
    assert not may_write(changed, golden)
    lost = found | {"values": {"batch": 1.0, "metric trivial/ridge_mse": 3.0}}
    assert problems(lost, golden)[0].startswith("metric test/mse: None, was 2.0")
    assert not may_write(lost, golden)
    assert not may_write(golden | {"values": {**golden["values"], "gradient": 1.0}}, golden | {"values": more})


def test_the_first_changed_value_is_named_with_its_unit() -> None:
    golden = {"batch": 1.0, "loss": 2.0, "metric test/mse": 3.0}
    assert differing(golden, golden) == []
    [loss, metric] = differing({"batch": 1.0, "loss": 2.1, "metric test/mse": 3.1}, golden)
    assert loss.startswith("loss: 2.1, was 2.0; look at the task's loss")
    assert "the task's evaluation" in metric
    assert len(differing({"batch": 1.0}, golden)) == 2
