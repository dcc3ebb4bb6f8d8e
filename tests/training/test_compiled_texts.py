"""compile=true with dynamic padding: the number of graphs does not grow with the number of lengths.

Graphs are counted with a backend that runs them as they are, which takes seconds where Inductor takes minutes.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import logging
import torch
from functools import partial
from torch._dynamo.testing import CompileCounterWithBackend
from kiti.models.text_classifier import build_text_classifier
from kiti.residual import KITIResidual

torch._dynamo.config.skip_nnmodule_hook_guards = False  # as kiti.training.building sets it
torch._dynamo.config.recompile_limit = {limit}
sizes = dict(vocab_size=31, width=16, layers=1, heads=2, ffn=32, positions=64)
model = build_text_classifier({family!r}, 3, **sizes, residual=partial(KITIResidual, 2, 0.9))
graphs = CompileCounterWithBackend("eager")
model.compile(backend=graphs, dynamic=True)
draw = torch.Generator().manual_seed(0)


def call(batch, length):
    tokens = torch.randint(1, 31, (batch, length), generator=draw)
    mask = (torch.arange(length) < torch.randint(1, length + 1, (batch, 1), generator=draw)).long()
    segments = [torch.zeros_like(tokens)] if {family!r} == "bert" else []
    return model(tokens, mask, *segments).logits


for batch, length in [(4, 12), (4, 7), (4, 30), (2, 9), (4, 64), (1, 5), (3, 11), (4, 16), (4, 13), (4, 2), (4, 41)]:
    call(batch, length).sum().backward()
model.eval()
with torch.no_grad():
    for batch, length in [(4, 12), (4, 7), (2, 30), (1, 5), (4, 64), (4, 13)]:
        call(batch, length)
print("graphs", graphs.frame_count)
"""


def run(family: str, limit: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(family=family, limit=limit)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_seventeen_shapes_take_at_most_six_graphs(family: str) -> None:
    """Two in training, as the first batch starts the collisions' sums; one in evaluation; and one more of each for a
    batch of a single item, which torch always compiles apart."""
    done = run(family, 8)  # torch's limit
    assert int(done.stdout.split()[-1]) <= 6
    assert "recompile_limit" not in done.stderr


@pytest.mark.slow
def test_beyond_torchs_limit_it_goes_on_in_eager_mode_and_says_so_once() -> None:
    done = run("bert", 1)
    assert int(done.stdout.split()[-1]) == 1
    assert done.stderr.count("hit config.recompile_limit") == 1
