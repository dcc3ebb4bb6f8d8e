"""compile=true: every model trains at smoke size, and leaves what the uncompiled run leaves.

Runs are separate processes, as torch.compile cannot trace the type checks of the tests.
"""

import os
import subprocess
import sys
from pathlib import Path

import image_sets
import pytest
import torch
from safetensors.torch import load_file

from kiti.configuration.compose import compose
from kiti.storage import records

ROOT = Path(__file__).parents[2]
MODELS = {
    "fno1d": ["experiment=burgers", "data.n_test=5"],
    "fno2d": ["experiment=heat"],
    "oformer": ["experiment=airfoil_euler", "data.n_train=2", "data.n_test=2", "task.curriculum_frames=0"],
    "resnet": ["experiment=imagenet_resnet50"],
    "convnext": ["experiment=imagenet_convnext_tiny"],
    "chain": ["experiment=condensation_skip", "data.batch_size=16", "replicas=2"],
}
TWO_STEPS = "trainer.max_epochs=2"


def trained(folder: Path, *overrides: str) -> list[Path]:
    """The directories of a finished run, one for each seed."""
    run = [*overrides, "scale=smoke", "residual=kiti", "residual.coll_coef=0.9", TWO_STEPS, "trainer.accelerator=cpu"]
    run += [f"data_dir={folder / 'data'}", f"runs_dir={folder / 'runs'}"]
    done = subprocess.run(
        [sys.executable, "-m", "kiti.train", *run],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    composed = compose(run)
    return [composed.run_dir_of(seed) for seed in composed.seeds]


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_a_compiled_model_leaves_the_same_weights_and_metrics(model: str, tmp_path: Path) -> None:
    overrides = list(MODELS[model])
    if "imagenet" in overrides[0]:
        overrides.append(f"data.path={image_sets.write_folder(tmp_path / 'images')}")
    plain, compiled = trained(tmp_path, *overrides), trained(tmp_path, *overrides, "compile=true")
    assert len(plain) == len(compiled) > 0
    for one, other in zip(plain, compiled, strict=True):
        assert one.parent != other.parent  # another hash
        weights, others = (load_file(run_dir / "weights.safetensors") for run_dir in (one, other))
        assert weights.keys() == others.keys()
        for name, tensor in weights.items():  # not equal: compiled seams draw other random numbers
            torch.testing.assert_close(others[name], tensor, rtol=0.05, atol=0.05, msg=name)
        expected, found = (records.read(run_dir / records.FILE_NAME) for run_dir in (one, other))
        assert found.metrics.keys() == expected.metrics.keys()
        tested = {name: value for name, value in expected.metrics.items() if name.startswith("test/")}
        assert {name: found.metrics[name] for name in tested} == pytest.approx(tested, rel=0.05)
        assert found.collisions is not None
        assert found.collisions.keys() == expected.collisions.keys()
        assert found.flops_per_sample == expected.flops_per_sample


def test_only_compiled_runs_have_another_hash() -> None:
    plain, off, on = (compose(["experiment=burgers", *more]) for more in ([], ["compile=false"], ["compile=true"]))
    assert plain.hash == off.hash != on.hash
