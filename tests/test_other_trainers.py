"""Every snippet of docs/other-trainers.md, with the real library: collides once a step, resumes on the same bits."""

import functools
import re
import subprocess
import sys
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.utils.data import DataLoader
from transformers import GPT2Config, GPT2LMHeadModel

import kiti
from kiti.seams.lightning_callback import ko_of
from kiti.seams.opening import open_seam

PAGE = (Path(__file__).parents[1] / "docs" / "other-trainers.md").read_text()
RESIDUAL = functools.partial(kiti.KITIResidual, collision_heads=2, coll_coef=0.5)
STEPS = 6
TOKENS = torch.randint(31, (48, 8), generator=torch.Generator().manual_seed(1))
DATA = [{"input_ids": row, "labels": row} for row in TOKENS]


def snippet(name: str) -> str:
    [found] = re.findall(rf"```python {name}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def gpt2(opened: bool = True, dropout: float = 0.0) -> GPT2LMHeadModel:
    """Without dropout, whose generator not every trainer restores."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 8, "vocab_size": 31}
    sizes |= dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), dropout)
    model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)).train()
    if opened:
        open_seam(model, residual=RESIDUAL)
        kiti.Directions(model, seed=0)
    return model


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def assert_equal(first: nn.Module, second: nn.Module) -> None:
    assert all(torch.equal(*pair) for pair in zip(weights(first), weights(second), strict=True))


@pytest.fixture(autouse=True)
def quiet() -> Any:
    """kiti's own warnings are errors, but for the large changes that these tiny models have."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module=r"kiti\..*")
        warnings.filterwarnings("ignore", message=r".*(kinetic energy|changes the gradient).*")
        yield


def by_trainer(folder: Path, stop: int, resume: bool = False, accumulate: int = 1) -> tuple[nn.Module, Any]:
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop |= state.global_step >= stop

    model = gpt2(dropout=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    args = TrainingArguments(
        str(folder), max_steps=STEPS, save_steps=3, per_device_train_batch_size=2, report_to=[], use_cpu=True,
        max_grad_norm=0, disable_tqdm=True, gradient_accumulation_steps=accumulate,
    )  # fmt: skip
    names: dict[str, Any] = {"model": model, "optimizer": optimizer, "args": args, "data": DATA, "kiti": kiti}
    names |= {"torch": torch, "Trainer": Trainer, "TrainerCallback": TrainerCallback, "folder": folder / "checkpoint-3"}
    exec(snippet("trainer"), names)
    names["trainer"].add_callback(Stop())
    if resume:
        exec(snippet("trainer-resume"), names)
    names["trainer"].train(resume_from_checkpoint=str(folder / "checkpoint-3") if resume else None)
    return model, names["ko"]


def by_accelerate(folder: Path, stop: int, resume: bool = False, accumulate: int = 1) -> tuple[nn.Module, Any]:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulate)
    model = gpt2()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loader: Any = DataLoader(DATA, batch_size=2)  # type: ignore[arg-type]
    names: dict[str, Any] = {"model": model, "optimizer": optimizer, "loader": loader, "accelerator": accelerator}
    names["kiti"] = kiti
    exec(snippet("accelerate"), names)
    step = 0
    if resume:
        accelerator.load_state(str(folder / "at"))
        step = 3
    for at, batch in enumerate(names["loader"]):
        if at < step * accumulate:
            continue
        with accelerator.accumulate(names["model"]):
            accelerator.backward(names["model"](**batch).loss)
            names["optimizer"].step()
            names["optimizer"].zero_grad()
        step = (at + 1) // accumulate
        if step == stop:
            break
    if stop < STEPS:
        accelerator.save_state(str(folder / "at"))
    return model, names["ko"]


def by_lightning(folder: Path, stop: int, resume: bool = False, accumulate: int = 1) -> tuple[nn.Module, Any]:
    import pytorch_lightning as pl

    names: dict[str, Any] = {"LightningModule": pl.LightningModule, "torch": torch, "kiti": kiti}
    exec(snippet("lightning"), names)

    class Learner(names["Learner"]):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = gpt2()

        def training_step(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return self.model(**batch).loss  # type: ignore[no-any-return]

    learner = Learner()
    trainer = pl.Trainer(
        max_epochs=stop // 3, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
        enable_model_summary=False, accumulate_grad_batches=accumulate, gradient_clip_val=1.0,
        callbacks=names["callbacks"],
    )  # fmt: skip
    at = folder / "at.ckpt"
    epoch: Any = DataLoader(DATA[: 2 * 3 * accumulate], batch_size=2)  # it resumes at the start of an epoch
    trainer.fit(learner, epoch, ckpt_path=str(at) if resume else None)
    if stop < STEPS:
        trainer.save_checkpoint(at)
    return learner.model, ko_of(trainer.optimizers[0])


TRAINERS = {"trainer": by_trainer, "accelerate": by_accelerate, "lightning": by_lightning}
EVERY_TRAINER = pytest.mark.parametrize("by", TRAINERS.values(), ids=TRAINERS)


@EVERY_TRAINER
def test_a_resumed_run_ends_on_the_bits_of_an_uninterrupted_one(by: Any, tmp_path: Path) -> None:
    whole, ko = by(tmp_path / "whole", STEPS)
    assert ko.step_count == STEPS
    assert all(means.calls == STEPS and means.pairs > 0 for means in kiti.statistics(whole).values())
    by(tmp_path / "part", 3)
    resumed, ko = by(tmp_path / "part", STEPS, resume=True)
    assert ko.step_count == STEPS
    assert_equal(whole, resumed)


@EVERY_TRAINER
def test_with_accumulation_gradients_collide_once_a_step(by: Any, tmp_path: Path) -> None:
    model, ko = by(tmp_path, STEPS, accumulate=4)
    assert ko.step_count == STEPS
    assert all(means.calls == 4 * STEPS for means in kiti.statistics(model).values())


def sharded(rank: int, folder: str) -> None:
    from torch.distributed.checkpoint import state_dict as states
    from torch.distributed.fsdp import fully_shard

    warnings.simplefilter("ignore")
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2, timeout=timedelta(seconds=120)
    )
    mesh = init_device_mesh("cpu", (2,))

    def started() -> tuple[nn.Module, Any, Any]:
        names: dict[str, Any] = {"model": gpt2(), "torch": torch, "kiti": kiti}
        names["fully_shard"] = functools.partial(fully_shard, mesh=mesh)
        exec(snippet("fsdp"), names)
        return names["model"], names["optimizer"], names["ko"]

    def train(model: nn.Module, optimizer: Any, steps: range) -> None:
        for step in steps:
            optimizer.zero_grad()
            batch = TOKENS[4 * step + 2 * rank : 4 * step + 2 * rank + 2]
            model(batch, labels=batch).loss.backward()
            optimizer.step()

    whole, optimizer, ko = started()
    train(whole, optimizer, range(STEPS))
    found = kiti.statistics(whole)
    assert ko.step_count == STEPS
    assert all(means.calls == STEPS and means.pairs > 0 for means in found.values())
    part, optimizer, _ = started()
    train(part, optimizer, range(3))
    saved = states.get_state_dict(part, optimizer)
    directions = kiti.Directions(part).state_dict()
    resumed, optimizer, ko = started()
    states.set_state_dict(resumed, optimizer, model_state_dict=saved[0], optim_state_dict=saved[1])
    kiti.Directions(resumed).load_state_dict(directions)
    assert ko.step_count == 3
    train(resumed, optimizer, range(3, STEPS))
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one.full_tensor(), other.full_tensor())
    torch.save([means.pairs for means in found.values()], f"{folder}/rank{rank}.pt")
    distributed.destroy_process_group()


def test_fsdp_collides_and_resumes(tmp_path: Path) -> None:
    multiprocessing.spawn(sharded, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    assert first != second


def test_a_lora_model_collides_and_trains_only_its_adapters() -> None:
    from peft import LoraConfig, get_peft_model

    names: dict[str, Any] = {"model": gpt2(opened=False), "kiti": kiti, "functools": functools}
    names |= {"LoraConfig": LoraConfig, "get_peft_model": get_peft_model}
    exec(snippet("peft"), names)
    model = names["model"]
    model(input_ids=TOKENS[:4], labels=TOKENS[:4]).loss.backward()
    assert all(means.calls == 1 and means.pairs > 0 for means in kiti.statistics(model).values())
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {
        name for name, _ in model.named_parameters() if "lora" in name
    }


def test_dispatched_and_offloaded_models_collide() -> None:
    from accelerate import cpu_offload, infer_auto_device_map

    model = gpt2()
    places = infer_auto_device_map(model, {"cpu": "1GB"}, no_split_module_classes=["GPT2Block"])
    assert set(places.values()) == {"cpu"}
    cpu_offload(model, execution_device="cpu")
    model(TOKENS[:4], labels=TOKENS[:4]).loss.backward()
    assert all(means.calls == 1 and means.pairs > 0 for means in kiti.statistics(model).values())


def test_compiled() -> None:
    """In a process without the type checks of the tests, which torch.compile cannot trace."""
    lines = ["import functools, kiti, torch", "from transformers import GPT2Config, GPT2LMHeadModel"]
    lines += ["model = GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=8, vocab_size=31,"]
    lines += ["                                   bos_token_id=0, eos_token_id=0, use_cache=False)).train()"]
    lines += ["kiti.open_seam(model, residual=functools.partial(kiti.KITIResidual, collision_heads=2, coll_coef=0.5))"]
    lines += [snippet("compile").replace("fullgraph=True", "fullgraph=True, backend='aot_eager'")]
    lines += ["tokens = torch.randint(31, (2, 8))", "fast(input_ids=tokens).logits.sum().backward()"]
    lines += ["assert all(means.calls == 1 for means in kiti.statistics(model).values())"]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
