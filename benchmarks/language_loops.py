"""The loops that `benchmark_language` compares: kiti's, nanoGPT's train.py, and litgpt's pre-training."""

import dataclasses
import gc
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
from pytorch_lightning import Callback, seed_everything
from tokenizers import decoders, models, pre_tokenizers

from benchmarks.benchmarking import Unusable
from kiti.calibration.any_model import Settings
from kiti.configuration.compose import Composed, compose
from kiti.data.data_module import Data
from kiti.data.language.language_tokenizer import END
from kiti.residual import Colliding
from kiti.storage.records import git_state
from kiti.training import building

LR, DECAY, BETAS, CLIP = 6e-4, 0.1, (0.9, 0.95), 1.0
FILES = ("train.py", "model.py", "configurator.py")  # of nanoGPT
DOCUMENTS = 400  # at least; 2 in 100 validate


@dataclass(frozen=True)
class Setup:
    """What all loops of a case have in common."""

    family: str
    sizes: Mapping[str, int]
    batch: int
    context: int
    warm: int  # uncounted steps
    steps: int  # with these
    device: torch.device
    threads: int
    compile: bool
    folder: Path

    @property
    def precision(self) -> str:
        """For Lightning."""
        return "bf16-mixed" if self.device.type == "cuda" else "32-true"


@dataclass(frozen=True)
class Started:
    """One start of a loop: seconds of its counted steps, the model's parameters, and which version it was."""

    seconds: Sequence[float]
    parameters: int
    version: str


def counted(ends: Sequence[float], setup: Setup, loop: str) -> list[float]:
    """Seconds of the counted steps, from the times at which all steps ended. Unusable if any is missing."""
    if len(ends) != setup.steps:
        raise Unusable(f"{loop}: {len(ends)} steps were timed, not {setup.steps}")
    return [after - before for before, after in pairwise(ends[setup.warm - 1 :])]


class Clock(Callback):
    """Notes when steps end; on a GPU when the GPU ends them, without waiting for it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._ends: list[Any] = []

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        if self.device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._ends.append(event)
        else:
            self._ends.append(time.perf_counter())

    @property
    def ends(self) -> list[float]:
        if self.device.type != "cuda":
            return self._ends
        torch.cuda.synchronize(self.device)
        return [self._ends[0].elapsed_time(event) / 1e3 for event in self._ends]


def random_corpus(folder: Path, vocab_size: int, tokens: int) -> None:
    """Documents of random words, and a tokenizer that gives each word an id of its own, below `vocab_size`.

    A word is a space and three of L letters. Byte-level pairs " a" and "bc" are merged, then the two: 256 bytes,
    L + L² of these, words, and the end token.
    """
    known = sorted(pre_tokenizers.ByteLevel.alphabet())
    letters = next(n for n in range(1, 53) if n + n**2 + n**3 + len(known) + 1 >= vocab_size)
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[:letters]
    firsts = [("Ġ", a) for a in alphabet]
    seconds = [(b, c) for b in alphabet for c in alphabet]
    number = vocab_size - 1 - len(known) - len(firsts) - len(seconds)
    whole = [(f"Ġ{a}", b + c) for a in alphabet for b, c in seconds][:number]
    merges = [*firsts, *seconds, *whole]
    vocabulary = {piece: i for i, piece in enumerate([*known, *(one + other for one, other in merges)])}
    made = tokenizers.Tokenizer(models.BPE(vocabulary, merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([END])
    (folder / "tokenizer").mkdir()
    made.save(str(folder / "tokenizer" / "tokenizer.json"))
    words = np.array([(one + other).replace("Ġ", " ") for one, other in whole])
    chosen = np.random.default_rng(0).integers(len(words), size=(DOCUMENTS, -(-tokens // DOCUMENTS) + 8))
    lines = (json.dumps({"text": "".join(words[row])}) + "\n" for row in chosen)
    (folder / "corpus.jsonl").write_text("".join(lines))


def composed(setup: Setup, *overrides: str) -> Composed:
    """The experiment of the family, with the corpus of `random_corpus`."""
    sizes = [f"model.{key}={value}" for key, value in setup.sizes.items()]
    return compose(
        [
            *(f"experiment={setup.family}_stand_ins", "data=python_manual", *sizes),
            *(f"model.positions={setup.context}", f"data.corpora.python_manual.path={setup.folder}/corpus.jsonl"),
            *(f"data.tokenizer={setup.folder}/tokenizer", f"data_dir={setup.folder}/data", "data.kneser_ney=[]"),
            *(f"data.context={setup.context}", f"data.validation_tokens={setup.context}", "data.processes=1"),
            *(f"data.tokens={setup.steps * setup.batch * setup.context}", f"data.batch_size={setup.batch}"),
            *(f"optimizer.lr={LR}", f"optimizer.weight_decay={DECAY}", f"optimizer.betas=[{BETAS[0]},{BETAS[1]}]"),
            *(f"trainer.gradient_clip_val={CLIP}", f"trainer.precision={setup.precision}"),
            *("trainer.val_check_interval=null", f"trainer.accelerator={_accelerator(setup.device)}"),
            *("callbacks.benchmarks.tasks=[]", f"compile={str(setup.compile).lower()}", "resume=never"),
            *(f"runs_dir={setup.folder}/runs", *overrides),
        ]
    )


def _accelerator(device: torch.device) -> str:
    return "gpu" if device.type == "cuda" else "cpu"


def of_kiti(setup: Setup, config: Composed, data: Data, settings: Settings | None = None) -> Started:
    """As kiti-train does it, without its test; `settings` are those of the residuals, by module."""
    if setup.compile:
        torch._dynamo.reset()  # its limit of compilations of the same code is for one process
    seed_everything(0, verbose=False)
    model = building.model(config)
    modules = dict(model.named_modules())
    for name, (heads, coll_coef, _) in (settings or {}).items():
        residual = modules[name]
        assert isinstance(residual, Colliding)
        residual.rules = dataclasses.replace(residual.rules, collision_heads=heads, coll_coef=coll_coef)
        residual.calibrated = True
    task = building.task(config, model)
    building.compile_model(config, task)
    clock = Clock(setup.device)
    trainer = building.trainer(config)
    trainer.callbacks.append(clock)  # type: ignore[attr-defined]
    trainer.fit(task, data)
    found = Started(counted(clock.ends, setup, "kiti"), parameters_of(model), "")
    del trainer, task, model, modules
    gc.collect()
    if setup.device.type == "cuda":
        torch.cuda.empty_cache()  # for the other loops, which are processes of their own
    return found


def parameters_of(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def require_clone(clone: Path) -> str:
    """The commit of an unmodified clone of nanoGPT. Unusable otherwise."""
    if missing := [name for name in FILES if not (clone / name).is_file()]:
        raise Unusable(f"--nanogpt {clone}: no {', '.join(missing)} there; git clone github.com/karpathy/nanoGPT")
    state = git_state(clone)
    if state.dirty:
        raise Unusable(f"--nanogpt {clone}: it has local changes; give an unmodified clone")
    return state.commit


def of_nanogpt(setup: Setup, clone: Path) -> Started:
    """train.py of the clone, with the times that it prints."""
    sizes = setup.sizes
    assert sizes["ffn"] == 4 * sizes["width"], "nanoGPT knows no other"
    place = setup.folder / "nanogpt"
    ours = place / "data" / "random"
    if not place.exists():
        ours.mkdir(parents=True)
        for name in FILES:
            (place / name).symlink_to((clone / name).resolve())
        for name in ("train", "val"):
            number = max(setup.steps * setup.batch, 2) * setup.context + 1
            np.random.default_rng(0).integers(sizes["vocab_size"], size=number, dtype=np.uint16).tofile(
                ours / f"{name}.bin"
            )
        (ours / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": sizes["vocab_size"]}))
    options = {
        "device": setup.device.type,
        "dtype": "bfloat16" if setup.device.type == "cuda" else "float32",
        "compile": setup.compile,
        "dataset": "random",
        "eval_interval": 10**9,
        "eval_iters": 1,
        "log_interval": 1,
        "gradient_accumulation_steps": 1,
        "batch_size": setup.batch,
        "block_size": setup.context,
        "n_layer": sizes["layers"],
        "n_head": sizes["heads"],
        "n_embd": sizes["width"],
        "bias": True,
        "dropout": 0.0,
        "learning_rate": LR,
        "weight_decay": DECAY,
        "beta1": BETAS[0],
        "beta2": BETAS[1],
        "grad_clip": CLIP,
        "warmup_iters": 1,
        "lr_decay_iters": setup.steps,
        "max_iters": setup.steps - 1,  # it counts from 0, and the last one is trained too
    }
    command = [sys.executable, "train.py", *(f"--{key}={value}" for key, value in options.items())]
    printed = run(command, place, setup.threads, "nanoGPT")
    counts = re.findall(r"^num (?:non-)?decayed parameter tensors: \d+, with ([\d,]+) parameters", printed, re.M)
    seconds = [float(time) / 1e3 for time in re.findall(r"^iter \d+: .*\btime ([\d.]+)ms", printed, re.M)]
    if not counts:
        raise Unusable(f"{clone}: train.py does not print its numbers of parameters; use nanoGPT as it is")
    ends = np.cumsum(seconds).tolist()
    parameters = sum(int(count.replace(",", "")) for count in counts)
    return Started(counted(ends, setup, "nanoGPT"), parameters, git_state(clone).commit[:7])


def of_litgpt(setup: Setup, python: str) -> Started:
    """litgpt's pre-training, by the interpreter that has it."""
    given, result = setup.folder / "litgpt.settings.json", setup.folder / "litgpt.result.json"
    settings = {
        "sizes": dict(setup.sizes),
        "batch": setup.batch,
        "context": setup.context,
        "steps": setup.steps,
        "device": setup.device.type,
        "precision": setup.precision,
        "clip": CLIP,
        "optimizer": {"lr": LR, "weight_decay": DECAY, "betas": list(BETAS)},
    }
    given.write_text(json.dumps(settings))
    result.unlink(missing_ok=True)
    worker = Path(__file__).with_name("litgpt_worker.py")
    compiling = {} if setup.compile else {"TORCH_COMPILE_DISABLE": "1"}  # litgpt has no option for it
    run([python, str(worker), str(given), str(result)], setup.folder, setup.threads, "litgpt", **compiling)
    try:
        found = json.loads(result.read_text())
        return Started(counted(found["ends"], setup, "litgpt"), found["parameters"], found["version"])
    except (OSError, ValueError, KeyError) as error:
        raise Unusable(f"litgpt: no result from {python}: {type(error).__name__}: {error}") from None


def require_python(python: str) -> None:
    if shutil.which(python) is None:
        raise Unusable(f"--litgpt {python}: no such interpreter; give one with litgpt 0.5.13")


def run(command: Sequence[str], folder: Path, threads: int, loop: str, **more: str) -> str:
    """What a command prints. Unusable, with its last line, if it fails."""
    number = str(threads)
    threads_of = {"OMP_NUM_THREADS": number, "MKL_NUM_THREADS": number}
    environment = {**os.environ, **threads_of, "PYTHONDONTWRITEBYTECODE": "1", **more}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "it printed nothing").splitlines()[-1]
        raise Unusable(f"{loop}: it ended with status {done.returncode}: {last}")
    return done.stdout
