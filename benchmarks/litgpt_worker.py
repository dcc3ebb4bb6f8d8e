"""litgpt's own pre-training of a Qwen2, for `benchmark_language`; run by an interpreter that has litgpt.

    PYTHON benchmarks/litgpt_worker.py SETTINGS.json RESULT.json

`litgpt.pretrain.main` builds, compiles and trains the model, and with TORCH_COMPILE_DISABLE=1 does not compile it; only
its last checkpoint is left out. Random tokens are held in memory. An iteration ends when litgpt has logged it, as it
does after every one by default.
"""

import importlib.metadata
import json
import sys
import tempfile
import time
from pathlib import Path

import lightning
import litgpt.pretrain
import torch
from lightning.fabric.loggers.logger import Logger
from litgpt.args import EvalArgs, TrainArgs
from litgpt.config import Config
from litgpt.data.base import DataModule
from litgpt.utils import num_parameters
from torch.utils.data import DataLoader

SETTINGS = json.loads(Path(sys.argv[1]).read_text())
NEVER = 10**9


class Clock(Logger):
    """Notes when iterations are logged, behind litgpt's wait for the device."""

    name, version = "clock", 0

    def __init__(self):
        self.ends = []

    def log_metrics(self, metrics, step=None):
        if "iter_time" in metrics:
            self.ends.append(time.perf_counter())

    def log_hyperparams(self, *args, **kwargs):
        pass


class RandomBlocks(DataModule):
    """Blocks of T + 1 random tokens."""

    def connect(self, tokenizer=None, batch_size=1, max_seq_length=None, **kwargs):
        self.batch_size = batch_size
        shape = SETTINGS["steps"] * batch_size, max_seq_length + 1
        self.blocks = torch.randint(SETTINGS["sizes"]["vocab_size"], shape)

    def train_dataloader(self):
        return DataLoader(self.blocks, self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.blocks[: self.batch_size], self.batch_size)


def main():
    sizes, optimizer = SETTINGS["sizes"], SETTINGS["optimizer"]
    config = Config.from_name(
        "Qwen2.5-0.5B",
        block_size=SETTINGS["context"],
        vocab_size=sizes["vocab_size"],
        padded_vocab_size=sizes["vocab_size"],
        n_layer=sizes["layers"],
        n_head=sizes["heads"],
        n_embd=sizes["width"],
        n_query_groups=sizes["kv_heads"],
        intermediate_size=sizes["ffn"],
    )
    clock, trained = Clock(), {}

    def keep(fabric, state, *args):
        trained.update(state)

    litgpt.pretrain.save_checkpoint = keep
    fabric = lightning.Fabric(
        accelerator=SETTINGS["device"], devices=1, precision=SETTINGS["precision"], loggers=[clock]
    )
    with tempfile.TemporaryDirectory() as folder:
        litgpt.pretrain.main(
            fabric=fabric,
            devices=1,
            seed=0,
            initial_checkpoint_dir=None,
            resume=False,
            config=config,
            data=RandomBlocks(),
            out_dir=Path(folder),
            tokenizer_dir=None,
            tokenizer=None,
            train=TrainArgs(
                save_interval=None,
                log_interval=1,
                global_batch_size=SETTINGS["batch"],
                micro_batch_size=SETTINGS["batch"],
                max_tokens=SETTINGS["steps"] * SETTINGS["batch"] * SETTINGS["context"],
                max_norm=SETTINGS["clip"],
                lr_warmup_steps=1,
                tie_embeddings=True,
            ),
            eval=EvalArgs(interval=NEVER, final_validation=False),
            optimizer={"class_path": "torch.optim.AdamW", "init_args": optimizer},
        )
    result = {
        "version": f"{importlib.metadata.version('litgpt')}, torch {importlib.metadata.version('torch')}",
        "parameters": num_parameters(trained["model"]),
        "ends": clock.ends,
    }
    Path(sys.argv[2]).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
